import { readSaved } from '../read-saved.ts';

const transcript = (perf: object, model: string): string => `GET /api/extra/perf
200 application/json

${JSON.stringify({ last_process: 0, last_eval: 0, ...perf })}

GET /api/v1/model
200 application/json

${JSON.stringify({ result: model })}
`;

async function values(perf: object, model: string): Promise<string[]> {
  const { reading } = await readSaved(transcript(perf, model), 'saved', 'koboldcpp');
  return reading.families
    .filter(({ name }) => name.startsWith('llm_requests_'))
    .flatMap(({ name, points }) =>
      points.flatMap((point) =>
        'value' in point ? [`${name} ${point.labels['model'] ?? '-'} ${point.value}`] : [],
      ),
    );
}

it.each([
  [
    'idle',
    { idle: 1, queue: 0, total_gens: 7 },
    'koboldcpp/m',
    [
      'llm_requests_running koboldcpp/m 0',
      'llm_requests_waiting koboldcpp/m 0',
      'llm_requests_finished_total koboldcpp/m 7',
    ],
  ],
  ['busy, of a version that says little', { idle: 0 }, 'koboldcpp/m', ['llm_requests_running koboldcpp/m 1']],
  [
    'without a text model',
    { idle: 1, queue: 0 },
    'inactive',
    ['llm_requests_running - 0', 'llm_requests_waiting - 0'],
  ],
])('%s', async (_, perf, model, expected) => {
  expect(await values(perf, model)).toEqual(expected);
});
