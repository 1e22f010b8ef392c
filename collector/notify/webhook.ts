// Tells a webhook of findings that open, change and close: the same object that the event stream has, signed where there is a secret.
import { createHmac } from 'node:crypto';
import type { LiveEvent } from '../state/state.ts';
import type { Channel } from './notifier.ts';
import { post } from './post.ts';

export interface WebhookOptions {
  readonly url: URL;
  /** Of the signature in `x-portreeve-signature: sha256=…` (HMAC of the body, hexadecimal); absent: none. */
  readonly secret?: string;
}

/** The channel. */
export function webhookChannel({ url, secret }: WebhookOptions): Channel {
  return {
    name: 'webhook',
    words: (event: LiveEvent) =>
      event.kind === 'finding-opened' || event.kind === 'finding-changed' || event.kind === 'finding-closed'
        ? { apiVersion: 'portreeve/v1', kind: 'FindingEvent', event: event.kind, at: event.at, finding: event.finding }
        : undefined,
    send: (words, signal) => {
      const body = JSON.stringify(words);
      const signature = secret === undefined ? {} : { 'x-portreeve-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` };
      return post(url, { body, headers: signature }, signal);
    },
  };
}
