export {
  type Command,
  type CommandFlag,
  type CommandTable,
  type DeclaredSetting,
  type DeclaredSettings,
  defineSettings,
  type Setting,
  type SettingsDefinition,
  SettingsDefinitionError,
  type SettingsFragment,
  type SettingsOf,
  type SettingsRule,
  type SettingsTable,
  type TableValues,
  variablePrefix,
} from './definition.ts';
export { byteSize, formatByteSize } from './byte-size.ts';
export { duration, durationBetween, formatDuration, parseDuration } from './duration.ts';
export { type BasicAuthUser, type HttpSettings, httpSettings } from './http-settings.ts';
export {
  type Environment,
  type LoadedSettings,
  loadSettings,
  type RefusedSettings,
  type SettingSource,
  type SettingsSurroundings,
} from './load-settings.ts';
export { didYouMean, nearestName } from './nearest-name.ts';
export { printableText } from './printable-text.ts';
export { readBounded, TooLargeError } from './read-bounded.ts';
export { formatProblem, type SettingsProblem } from './problem.ts';
export { renderEnvExample } from './render-env-example.ts';
export { renderSettingsDocs } from './render-settings-docs.ts';
export {
  type CommandLineEnd,
  type CommandLineRun,
  type CommandLineSurroundings,
  runCommandLine,
  type TextOutput,
} from './run-command-line.ts';
export {
  boolean,
  filePath,
  folderPath,
  headerKey,
  host,
  httpUrl,
  integerBetween,
  list,
  logLevel,
  type NamedValue,
  nameValueList,
  numberBetween,
  oneOf,
  plainText,
  port,
  secretText,
} from './schemas.ts';
export { Secret } from './secret.ts';
export { formatValue, kindOf, settingSchema, type ValueKind } from './setting-schema.ts';
