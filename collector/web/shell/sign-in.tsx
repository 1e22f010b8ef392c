// Asks for a token where the collector wants one. It is kept in a cookie of this session that only the API is sent.
import { useState } from 'preact/hooks';
import { live } from '../data/live.ts';

/** What stands in place of a view that the collector did not answer for want of a token, or of rights. */
export function SignIn({ title, reason }: { readonly title: string; readonly reason: string }) {
  const [token, setToken] = useState('');
  const keep = (event: Event): void => {
    event.preventDefault();
    const secure = location.protocol === 'https:' ? '; Secure' : '';
    // biome-ignore lint/suspicious/noDocumentCookie: the cookie store is not in every browser, and not over plain HTTP.
    document.cookie = `portreeve_token=${token.trim()}; Path=/api/v1; SameSite=Strict${secure}`;
    live.connect();
    location.reload();
  };
  return (
    <section class="notice" aria-labelledby="sign-in">
      <h1 id="sign-in">{title}</h1>
      <p>{reason}</p>
      <form class="sign-in" onSubmit={keep}>
        <label for="token">Token for the API</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          required
          pattern="[A-Za-z0-9._\-]+"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
      <p class="quiet">
        An administrator makes one with <code>portreeve token create --role view --name NAME</code>. It is kept until this browser is closed.
      </p>
    </section>
  );
}
