import { Parser } from 'xml2js';

import { BackendError } from '../../reading.ts';
import { isSmiElement, type SmiElement } from './smi-element.ts';

/** Far above what the largest host prints (1.5 MB), and far below what would hurt. */
export const MAX_OUTPUT_BYTES = 16 * 1024 ** 2;

const ROOT = 'nvidia_smi_log';
const END = `</${ROOT}>`;

/**
 * The tree of an `nvidia-smi -q -x` output, in the form that node-nvidia-smi gives it: an element is an object, a leaf
 * its text, an attribute stands under `$`, and what is there twice is an array. Prolog and DOCTYPE are neither needed
 * nor read, and warnings that nvidia-smi prints before and after the XML are passed over.
 *
 * @throws BackendError `unreadable_output`, with the place, where the output is cut off, too large, or something else
 */
export function parseSmiXml(output: string): SmiElement {
  if (output.length > MAX_OUTPUT_BYTES) {
    throw unreadable(`is over ${MAX_OUTPUT_BYTES} characters: is it nvidia-smi that runs?`);
  }
  const start = output.search(new RegExp(`<${ROOT}[\\s>]`));
  if (start < 0)
    throw unreadable(`has no <${ROOT}>; it begins with ${JSON.stringify(output.trim().slice(0, 120))}`);
  const end = output.lastIndexOf(END);
  const xml = escapeProcessNames(end > start ? output.slice(start, end + END.length) : output.slice(start));

  const { document, error } = parse(xml);
  if (error !== undefined) {
    const what = end > start ? 'is no XML' : `is cut off after ${output.length} characters`;
    throw unreadable(`${what}: ${error.message.replace(/\s*\n\s*/g, ', ').slice(0, 200)}`, error);
  }
  return smiLog(document);
}

/**
 * The root of a tree that was parsed.
 * @throws BackendError `unreadable_output` where it is not nvidia-smi's
 */
export function smiLog(document: unknown): SmiElement {
  const log = isSmiElement(document) ? document[ROOT] : undefined;
  if (isSmiElement(log)) return log;
  throw unreadable(`has nothing in its <${ROOT}>`);
}

function parse(xml: string): { document?: unknown; error?: Error } {
  const outcome: { document?: unknown; error?: Error } = {};
  try {
    // The options of node-nvidia-smi. The parser is synchronous, and calls again for each further error.
    new Parser({ explicitArray: false, trim: true }).parseString(xml, (error, document: unknown) => {
      if (error === null) outcome.document = document;
      else outcome.error ??= error;
    });
  } catch (error) {
    outcome.error ??= error instanceof Error ? error : new Error(String(error));
  }
  return outcome;
}

/** A process may be called anything, `a<b` too: one such name must not cost the readings of all GPUs. */
function escapeProcessNames(xml: string): string {
  return xml.replace(
    /(<process_name>)(.*?)(<\/process_name>)/gs,
    (_whole, open: string, name: string, close: string) =>
      open + name.replace(/&(?!(?:amp|lt|gt|quot|apos|#\d{1,7});)/g, '&amp;').replace(/</g, '&lt;') + close,
  );
}

function unreadable(what: string, cause?: unknown): BackendError {
  return new BackendError('unreadable_output', `the output of nvidia-smi -q -x ${what}`, cause);
}
