/** The text with spaces for its control characters: what a server answered must not steer a terminal. */
export function printableText(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
