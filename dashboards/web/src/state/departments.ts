// The departments of an account while a person writes them down. Pure.

/** Names that stand, and what is being typed. */
export type Draft = { chosen: readonly string[]; typed: string };

export const draftOf = (departments: readonly string[]): Draft => ({ chosen: departments, typed: "" });

/** How people separate names; a department that is known by a name with such a mark in it stays whole. */
const BETWEEN = /[,，、;；\n]+/;

/** All departments of a draft, each once, with those that are still being typed. */
export function departmentsOf({ chosen, typed }: Draft, known: ReadonlySet<string>): string[] {
  const whole = typed.trim();
  const names = known.has(whole) ? [whole] : typed.split(BETWEEN).map((name) => name.trim());
  return [...new Set([...chosen, ...names])].filter((name) => name !== "");
}

/** What is typed becomes names that stand. */
export const settled = (draft: Draft, known: ReadonlySet<string>): Draft =>
  draftOf(departmentsOf(draft, known));

/** A draft without one of its names. */
export const without = ({ chosen, typed }: Draft, name: string): Draft => ({
  chosen: chosen.filter((one) => one !== name),
  typed,
});

/** Departments that accounts and devices are of, in the order of the alphabet. */
export function knownDepartments(
  accounts: Iterable<{ departments: readonly string[] }>,
  devices: Iterable<{ department?: string }>,
): Set<string> {
  const names = [...accounts].flatMap(({ departments }) => departments);
  for (const { department } of devices) if (department) names.push(department);
  return new Set(names.sort((a, b) => a.localeCompare(b, "zh-CN")));
}
