/*
 * Playwright's driver asks each Firefox to emulate a colour scheme. A Firefox that has no such
 * command refuses it, and the driver gives up. Here that refusal counts as done: the tour asks for
 * no colour scheme.
 */
const OPTIONAL = 'emulation.setMediaFeaturesOverride';
const { parse } = JSON;

JSON.parse = (text, reviver) => {
  const reply = parse(text, reviver);
  const isRefused = reply?.error === 'unknown command' && reply.message === OPTIONAL;
  return isRefused ? { type: 'success', id: reply.id, result: {} } : reply;
};
