export { captureFiles, capturesDirectory, capturesReason } from './captures.ts';
export { startFakeServer, type FakeAnswer, type FakeAnswers, type FakeServer } from './fake-server.ts';
export { promtoolPath, promtoolReason, runPromtoolCheck } from './promtool.ts';
