import { startFakeServer } from './fake-server.ts';

it('answers by table, with 404 for the rest, and remembers what was asked', async () => {
  const server = await startFakeServer({ '/a?x=1': 'one', '/a': { status: 418, body: 'teapot' } });
  try {
    expect(await (await fetch(`${server.url}/a?x=1`)).text()).toBe('one');
    expect((await fetch(`${server.url}/a?x=2`)).status).toBe(418);
    expect((await fetch(`${server.url}/b`)).status).toBe(404);
    expect(server.requests).toEqual(['GET /a?x=1', 'GET /a?x=2', 'GET /b']);
  } finally {
    await server.close();
  }
});
