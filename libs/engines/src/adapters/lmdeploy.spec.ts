import { linesOf } from '../lines-of.ts';
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

it('counts as failed what ended for a reason other than its end', async () => {
  const reasons = { SUCCESS: 1, FINISH: 40, INPUT_LENGTH_ERROR: 2, CANCEL: 3, NO_QUEUE: 4, NEW_ONE: 5 };
  const points = Object.entries({ ...reasons, INTERNAL_ENGINE_ERROR: 6, ENGINE_STOP_ERROR: 7 }).map(
    ([reason, count]) => `lmdeploy:request_success_total{finished_reason="ResponseType.${reason}"} ${count}`,
  );
  const text = `# TYPE lmdeploy:request_success_total counter\n${points.join('\n')}\n`;
  const { reading } = await readSaved(text, 'saved.prom');
  expect(linesOf(reading, 'llm_request_errors_total').sort()).toEqual([
    '{error_type="aborted"} 3',
    '{error_type="internal"} 13',
    '{error_type="other"} 5',
    '{error_type="overloaded"} 4',
    '{error_type="validation"} 2',
  ]);
});
