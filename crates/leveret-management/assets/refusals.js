// What the API refuses, in the reader's language. The API speaks English: where the reader does not, its words stand beneath.

import { h } from "./vdom.js";
import { language, t } from "./i18n.js";

/** What the API says where it has nothing to add. */
const NO_WORDS = new Set(["Not Found", "vhost_not_found", "Access refused."]);

/** By status, and by what the API says where a status has many reasons; the first that fits. */
const SENTENCES = [
  [401, /^Access refused/, () => t("Your permissions in this virtual host do not allow that.")],
  [401, /virtual host/, () => t("You have no permissions in this virtual host.")],
  [401, /access object/, () => t("It belongs to another user.")],
  [401, /^Not administrator/, () => t("Only administrators may do that.")],
  [401, /^Not (monitor|policymaker|management)/, () => t("Your user's tags do not allow that.")],
  [403, /./, () => t("That cannot be asked for from there.")],
  [404, /./, () => t("It is not there, or not any more.")],
  [408, /./, () => t("It took too long.")],
  [412, /protected/, () => t("It is protected from deletion.")],
  [413, /./, () => t("That is more than the broker takes at once.")],
  [503, /blocked/, () => t("Publishers are blocked: memory or disk space is low.")],
  [503, /./, () => t("The broker cannot do that now.")],
  [400, /inequivalent arg/, () => t("It is there already, with other settings.")],
  [400, /in exclusive use/, () => t("Another connection has it for itself.")],
  [400, /is full/, () => t("The queue is full.")],
  [400, /\b(no|unknown) (queue|exchange|vhost|user)\b|404 NOT_FOUND|_not_found|no_such_user/, () => t("Something that it names is not there.")],
  [400, /in use|not empty/, () => t("It is still in use.")],
  [400, /^not_json/, () => t("That is no JSON object.")],
  [400, /regular expression/, () => t("That is no regular expression.")],
  [400, /^(key_missing|tags_not_present)/, () => t("Something that is needed was left out.")],
  [400, /is reached|exceed/, () => t("A limit is reached.")],
  [400, /./, () => t("The broker does not take it so.")],
];

/** An error as a sentence, with what the broker itself says where that is another language's. */
export function explain(error) {
  if (error.status === 0) return t("Leveret does not answer.");
  const reason = error.message;
  const sentence = SENTENCES.find(([status, words]) => status === error.status && words.test(reason || " "))?.[2];
  if (sentence && language() !== "en") return [sentence(), reason && !NO_WORDS.has(reason) && h("small", { lang: "en" }, reason)];
  if (error.status === 404 && NO_WORDS.has(reason)) return t("It is not there, or not any more.");
  if (error.status === 401) return t("Not allowed: {reason}", { reason });
  return reason || t("It failed, and no reason was given.");
}
