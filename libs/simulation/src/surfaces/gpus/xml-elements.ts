/** An element: its name, and a text or the elements in it. */
export type XmlElement = readonly [name: string, content: XmlContent];
export type XmlContent = string | number | readonly XmlElement[];

/** These elements where the condition holds, else none. */
export function when(condition: boolean, ...elements: readonly XmlElement[]): readonly XmlElement[] {
  return condition ? elements : [];
}

/** Lines of elements as nvidia-smi indents them: one tab per level, a text on the line of its tags. */
export function xmlLines(elements: readonly XmlElement[], depth: number): string[] {
  const indent = '\t'.repeat(depth);
  return elements.flatMap(([name, content]) =>
    typeof content === 'object'
      ? [`${indent}<${name}>`, ...xmlLines(content, depth + 1), `${indent}</${name}>`]
      : [`${indent}<${name}>${escapeText(String(content))}</${name}>`],
  );
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
