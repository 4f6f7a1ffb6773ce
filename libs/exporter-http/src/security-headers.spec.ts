import { contentSecurityPolicy, sendPage, type PagePolicy } from './security-headers.ts';
import { ask, startTestApp } from './test-app.ts';

const END = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

it.each<[PagePolicy, string]>([
  [{}, `default-src 'none'; ${END}`],
  // The hashes are what `printf %s TEXT | openssl dgst -sha256 -binary | base64` prints.
  [
    { styles: ['a{}'] },
    `default-src 'none'; style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='; ${END}`,
  ],
  [
    { connectToSelf: true, images: true },
    `default-src 'none'; connect-src 'self'; img-src 'self' data:; ${END}`,
  ],
  [{ connectToSelf: false }, `default-src 'none'; ${END}`],
])('%j is %s', (page, policy) => {
  expect(contentSecurityPolicy(page)).toBe(policy);
});

it("a page's script goes out under its hash", async () => {
  const { server } = await startTestApp({
    routes: (router) =>
      router.get('/page', (ctx) =>
        sendPage(ctx, '<script>1</script>', { scripts: ['1'], connectToSelf: true }),
      ),
  });
  const { headers } = await ask(`${server.url}/page`);
  expect(headers['content-type']).toBe('text/html; charset=utf-8');
  expect(headers['content-security-policy']).toBe(
    `default-src 'none'; script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='; connect-src 'self'; ${END}`,
  );
  await server.stop(0);
});
