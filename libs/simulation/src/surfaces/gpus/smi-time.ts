const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** An instant in UTC as the XML has it: `Fri Aug 21 08:54:01 2026`, as ctime() of C writes it. */
export function smiTimestamp(unixSeconds: number): string {
  const at = new Date(unixSeconds * 1000);
  const day = String(at.getUTCDate()).padStart(2, ' ');
  const time = at.toISOString().slice(11, 19);
  return `${DAYS[at.getUTCDay()]} ${MONTHS[at.getUTCMonth()]} ${day} ${time} ${at.getUTCFullYear()}`;
}

/** An instant in UTC as the tables have it: `2026/08/21 08:54:01.250`. */
export function smiCsvTimestamp(unixSeconds: number): string {
  const text = new Date(unixSeconds * 1000).toISOString();
  return `${text.slice(0, 10).replaceAll('-', '/')} ${text.slice(11, 23)}`;
}
