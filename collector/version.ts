// The version that replicas show: that of package.json.
import manifest from '../package.json' with { type: 'json' };

export const version: string = manifest.version;
