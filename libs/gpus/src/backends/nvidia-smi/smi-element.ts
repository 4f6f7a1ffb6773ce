/** An element of nvidia-smi's XML as xml2js gives it: children by name, a leaf being its text. */
export interface SmiElement {
  readonly [child: string]: SmiNode;
}
export type SmiNode = unknown;

export function isSmiElement(node: SmiNode): node is SmiElement {
  return typeof node === 'object' && node !== null && !Array.isArray(node);
}

/** A text, and where it stands. */
export interface FoundText {
  readonly text: string;
  /** Shorter than the path that was asked for, where a whole block is one text (`<remapped_rows>N/A</remapped_rows>`). */
  readonly path: string;
}

/** The text at `path` (names with slashes), or that of the block in which it would be; undefined where there is none. */
export function textAt(element: SmiElement, path: string): FoundText | undefined {
  let node: SmiNode = element;
  const walked: string[] = [];
  for (const name of path.split('/')) {
    if (!isSmiElement(node)) break;
    const next: SmiNode = Object.hasOwn(node, name) ? node[name] : undefined;
    node = Array.isArray(next) ? next[0] : next;
    walked.push(name);
  }
  const text = textOf(node);
  return text === undefined ? undefined : { text, path: walked.join('/') };
}

/** All elements of that name below `element`: none, one, or many. */
export function elementsAt(element: SmiElement, name: string): readonly SmiElement[] {
  const node = Object.hasOwn(element, name) ? element[name] : undefined;
  return (Array.isArray(node) ? node : [node]).filter(isSmiElement);
}

/** The one element of that name; undefined where there is none or it is a text. */
export function elementAt(element: SmiElement, name: string): SmiElement | undefined {
  return elementsAt(element, name)[0];
}

/** Text of a leaf, also of one with attributes. */
function textOf(node: SmiNode): string | undefined {
  if (typeof node === 'string') return node;
  const text = isSmiElement(node) ? node['_'] : undefined;
  return typeof text === 'string' ? text : undefined;
}
