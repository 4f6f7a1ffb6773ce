/** A link to another path, relative to the folder that it is in, or absolute. */
export interface SymbolicLink {
  readonly linkTo: string;
}

/** A file's text or bytes, or a link. */
export type TreeEntry = string | Uint8Array | SymbolicLink;

/** Files by their path below a root, `sys/class/drm/card1`: folders are those that the paths name. */
export type FileTree = ReadonlyMap<string, TreeEntry>;

/** One tree of several; where two have the same path, the later one's entry counts. */
export function mergeTrees(...trees: readonly FileTree[]): FileTree {
  return new Map(trees.flatMap((tree) => [...tree]));
}

/** Entries of a folder under their whole paths; one that is undefined is not there. */
export function filesIn(
  folder: string,
  files: Readonly<Record<string, TreeEntry | number | undefined>>,
): [string, TreeEntry][] {
  return Object.entries(files).flatMap(([name, content]): [string, TreeEntry][] => {
    if (content === undefined) return [];
    // The kernel ends the texts of its files with a line feed.
    const entry = typeof content === 'string' || typeof content === 'number' ? `${content}\n` : content;
    return [[`${folder}/${name}`, entry]];
  });
}
