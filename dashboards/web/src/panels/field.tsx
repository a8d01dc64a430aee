// One line of a form: its name above, a text or password below.
type Props = {
  label: string;
  value: string;
  set: (value: string) => void;
  /** Its name for tests. */
  test: string;
  type?: "text" | "password";
  autocomplete?: string;
  placeholder?: string;
  numeric?: boolean;
};

export function Field({ label, value, set, test, type = "text", autocomplete, placeholder, numeric }: Props) {
  const shared = {
    value,
    autocomplete,
    autocapitalize: "none" as const,
    placeholder,
    inputMode: numeric ? ("numeric" as const) : undefined,
    "data-testid": test,
    onInput: (event: preact.TargetedInputEvent<HTMLInputElement>) => set(event.currentTarget.value),
  };
  return type === "password" ? (
    <label class="field">
      <span>{label}</span>
      <input type="password" {...shared} />
    </label>
  ) : (
    <label class="field">
      <span>{label}</span>
      <input type="text" {...shared} />
    </label>
  );
}
