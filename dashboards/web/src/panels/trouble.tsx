// What did not come about, in the reader's language; the server's own words stand behind it.
import { type MessageKey, pick, t } from "../i18n";
import type { Failure } from "../state/failure";

/** The reader's words for a failure, or the server's when there are none. */
export const failureWords = ({ key, detail, detailZh, wait }: Failure): string =>
  key === null ? pick({ zh: detailZh, en: detail }) : t(key, { n: wait });

type Props = {
  failure: Failure;
  /** The sentence that it stands in, with a place `{why}`. */
  said?: MessageKey;
  /** Its name for tests. */
  test?: string;
};

export function Trouble({ failure, said = "act.failed", test }: Props) {
  return (
    <p class="trouble" role="alert" title={failure.key ? failure.detail : undefined} data-testid={test}>
      {t(said, { why: failureWords(failure) })}
    </p>
  );
}
