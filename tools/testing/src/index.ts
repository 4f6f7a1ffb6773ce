export { captureFiles, capturesDirectory, capturesReason } from './captures.ts';
export { startFakeServer, type FakeAnswer, type FakeServer } from './fake-server.ts';
