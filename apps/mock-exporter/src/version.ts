/** The version of this app: that of its package.json, which a test compares. */
export const VERSION = '0.1.0';
