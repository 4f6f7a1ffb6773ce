import { readSaved } from '../read-saved.ts';

const transcript = (health: string): string => `GET /metrics
200 text/plain

# TYPE lmdeploy:num_requests_running gauge
lmdeploy:num_requests_running{engine="0",model_name="m"} 1

GET /health
${health}
`;

it.each([
  ['healthy', '200 application/json\n\n{"status":"healthy","message":""}', 'ready'],
  ['sleeping', '200 application/json\n\n{"status":"sleeping","message":"Engine is sleeping."}', 'sleeping'],
  ['unhealthy', '503 application/json\n\n{"status":"unhealthy","message":"stalled"}', 'failed'],
  ['an old version, which says nothing more', '200 text/plain\n\n', 'ready'],
  ['a page that is no JSON', '200 application/json\n\n{"status', 'ready'],
])('%s', async (_, health, state) => {
  const { reading } = await readSaved(transcript(health), 'saved');
  expect([reading.up, reading.state]).toEqual([true, state]);
  expect(reading.errors.map(({ reason }) => reason)).toEqual(['not_found']); // of /v1/models, which is not saved here
});
