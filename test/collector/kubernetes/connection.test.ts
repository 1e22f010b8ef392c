// Who we are to the API, over real TLS: certificates, tokens in files that are exchanged while we run, and the in-cluster configuration.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ApiSourceOptions, watchApi } from '../../../collector/kubernetes/api.ts';
import type { ObjectsUpdate } from '../../../collector/kubernetes/source.ts';
import { type ApiObject, ApiServer, type ApiServerOptions } from '../../support/api-server.ts';
import { type Authority, hasOpenssl, makeAuthority } from '../../support/certificates.ts';
import { until } from '../ingest/cluster.ts';

const skip = hasOpenssl() ? false : 'openssl is not installed';
const authority: Authority | undefined = skip === false ? makeAuthority() : undefined;
const { ca, server: tls, client } = authority ?? ({ ca: '', server: { key: '', cert: '' }, client: { key: '', cert: '' } } as Authority);

const service = (name: string): ApiObject =>
  ({ kind: 'Service', metadata: { namespace: 'shop', name }, spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] } }) as ApiObject;

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const config = (server: string, user: object, cluster: object = { 'certificate-authority-data': base64(ca) }): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'c', cluster: { server, ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'test', context: { cluster: 'c', user: 'u' } }],
  });

async function started(t: Test, options: ApiServerOptions): Promise<ApiServer> {
  const server = new ApiServer(options);
  server.put(service('web'));
  await server.start();
  t.teardown(() => server.stop());
  return server;
}

async function watching(t: Test, options: Partial<ApiSourceOptions>) {
  const updates: ObjectsUpdate[] = [];
  const source = await watchApi({ onUpdate: (update) => updates.push(update), debounceMs: 10, pauseMaxMs: 50, ...options });
  t.teardown(() => source.close());
  const names = (): string => [...(updates.at(-1)?.objects.services.keys() ?? [])].sort().join(' ');
  const reaches = async (expected: string, message: string): Promise<void> =>
    void t.equal(
      await until(
        async () => names(),
        (found) => found === expected,
      ),
      expected,
      message,
    );
  const complains = async (pattern: RegExp): Promise<void> =>
    void t.match(
      await until(
        async () =>
          updates
            .at(-1)
            ?.issues.map(({ reason }) => reason)
            .join('\n') ?? '',
        (reasons) => pattern.test(reasons),
      ),
      pattern,
    );
  return { reaches, complains };
}

const url = (server: ApiServer): string => `https://127.0.0.1:${server.port}`;

t.test('a token over TLS', { skip }, async (t) => {
  const server = await started(t, { tls, token: 'secret' });
  const kubeconfig = join(t.testdir({ config: config(url(server), { token: 'secret' }) }), 'config');
  await (await watching(t, { kubeconfig })).reaches('shop/web', 'objects come');
});

t.test('a client certificate', { skip }, async (t) => {
  const server = await started(t, { tls: { ...tls, ca } });
  const user = { 'client-certificate-data': base64(client.cert), 'client-key-data': base64(client.key) };
  const kubeconfig = join(t.testdir({ config: config(url(server), user) }), 'config');
  await (await watching(t, { kubeconfig })).reaches('shop/web', 'objects come');
  t.equal(server.clients[0], 'portreeve', 'the server knows the client by its certificate');
});

t.test('a server that another authority vouches for is not believed', { skip }, async (t) => {
  const server = await started(t, { tls: makeAuthority('somebody else').server, token: 'secret' });
  const kubeconfig = join(t.testdir({ config: config(url(server), { token: 'secret' }) }), 'config');
  await (await watching(t, { kubeconfig })).complains(/certificate|self.signed/i);
  t.strictSame(server.requests, [], 'no request and no token was sent');
});

t.test('a server must have the name that is asked for', { skip }, async (t) => {
  const server = await started(t, { tls, token: 'secret' });
  const cluster = (name: string): object => ({ 'certificate-authority-data': base64(ca), 'tls-server-name': name });
  const files = t.testdir({
    other: config(url(server), { token: 'secret' }, cluster('another.example')),
    named: config(url(server), { token: 'secret' }, cluster('localhost')),
  });
  await (await watching(t, { kubeconfig: join(files, 'other') })).complains(/altnames/i);
  t.strictSame(server.requests, [], 'no request and no token was sent');
  await (await watching(t, { kubeconfig: join(files, 'named') })).reaches('shop/web', 'objects come');
});

t.test('a wrong token is named, and a kubeconfig that is mended is read again', { skip }, async (t) => {
  const server = await started(t, { tls, token: 'secret' });
  const kubeconfig = join(t.testdir({ config: config(url(server), { token: 'wrong' }) }), 'config');
  const { reaches, complains } = await watching(t, { kubeconfig });
  await complains(/401 \(the credentials are not accepted\): Unauthorized/);
  await writeFile(`${kubeconfig}.new`, config(url(server), { token: 'secret' }));
  await rename(`${kubeconfig}.new`, kubeconfig);
  await reaches('shop/web', 'objects come');
});

t.test('a token file is read again for each request', { skip }, async (t) => {
  const server = await started(t, { tls, token: 'first' });
  const files = t.testdir({ config: config(url(server), { tokenFile: 'token' }), token: 'first\n' });
  const { reaches } = await watching(t, { kubeconfig: join(files, 'config') });
  await reaches('shop/web', 'with the first token');
  server.setToken('second');
  await writeFile(join(files, 'token'), 'second\n');
  server.reset();
  server.put(service('api'));
  await reaches('shop/api shop/web', 'with the second token');
});

t.test('the authority is exchanged while we run', { skip }, async (t) => {
  const next = makeAuthority('the next one');
  const server = await started(t, { tls, token: 'secret' });
  const files = t.testdir({ config: config(url(server), { token: 'secret' }, { 'certificate-authority': 'ca.crt' }), 'ca.crt': ca });
  const { reaches } = await watching(t, { kubeconfig: join(files, 'config') });
  await reaches('shop/web', 'with the first authority');
  const { port } = server;
  await server.stop();
  const successor = new ApiServer({ tls: next.server, token: 'secret' });
  successor.put(service('web'));
  successor.put(service('api'));
  await successor.start(port);
  t.teardown(() => successor.stop());
  await writeFile(join(files, 'ca.crt'), next.ca);
  await reaches('shop/api shop/web', 'with the next authority');
});

t.test('in a pod: the mounted token and authority, and a token that the kubelet has exchanged', { skip }, async (t) => {
  const server = await started(t, { tls, token: 'first' });
  const root = t.testdir();
  const mounted = join(root, 'var/run/secrets/kubernetes.io/serviceaccount');
  await mkdir(mounted, { recursive: true });
  for (const [name, text] of [
    ['token', 'first'],
    ['ca.crt', ca],
    ['namespace', 'portreeve'],
  ] as const)
    await writeFile(join(mounted, name), text);
  const before = { ...process.env };
  Object.assign(process.env, { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(server.port) });
  t.teardown(() => {
    process.env = before;
  });
  const { reaches } = await watching(t, { root });
  await reaches('shop/web', 'with the first token');
  server.setToken('second');
  await writeFile(join(mounted, 'token'), 'second');
  server.reset();
  server.put(service('api'));
  await reaches('shop/api shop/web', 'the refusal makes the new token known at once');
});

t.test('a program that shall give credentials and never ends', async (t) => {
  const server = await started(t, {});
  const user = { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sleep', args: ['1'], interactiveMode: 'Never' } };
  const kubeconfig = join(t.testdir({ config: config(`http://127.0.0.1:${server.port}`, user, {}) }), 'config');
  const { complains } = await watching(t, { kubeconfig, idleMs: 200 });
  await complains(/the credentials did not come within 0 s/);
});

t.test('outside of a pod there is no in-cluster configuration', async (t) => {
  const { KUBERNETES_SERVICE_HOST: host } = process.env;
  delete process.env.KUBERNETES_SERVICE_HOST;
  t.teardown(() => {
    if (host !== undefined) process.env.KUBERNETES_SERVICE_HOST = host;
  });
  await t.rejects(watchApi({ onUpdate: () => t.fail('nothing to report') }), { code: 'INPUT_INVALID', message: /in-cluster configuration.*--kubeconfig FILE/ });
});

t.test('plain HTTP on a loopback address, as kubectl proxy serves it', async (t) => {
  const server = await started(t, {});
  const kubeconfig = join(t.testdir({ config: config(`http://127.0.0.1:${server.port}`, {}, {}) }), 'config');
  await (await watching(t, { kubeconfig })).reaches('shop/web', 'objects come');
});

t.test('plain HTTP elsewhere is refused, as a token would be sent in the open', async (t) => {
  const kubeconfig = join(t.testdir({ config: config('http://192.0.2.1:8080', { token: 'secret' }, {}) }), 'config');
  await (await watching(t, { kubeconfig })).complains(/HTTP protocol is not allowed/);
});
