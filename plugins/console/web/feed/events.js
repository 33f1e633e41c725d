/** Server-sent events of a stream, piece by piece. */

/**
 * Read events, `{type, id, data}`, and call `take` with those of each piece until it returns false.
 * One without `data` has only the position of its `id`.
 * @param {ReadableStream} body @param {(events: any[]) => boolean|void} take
 * @returns {Promise<boolean>} whether `take` wanted no more before the stream ended
 */
export async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let incomplete = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    const blocks = (incomplete + value).split('\n\n');
    incomplete = blocks.pop();
    const events = blocks.map(parseEvent).filter(({ id, data }) => id || data);
    if (take(events) === false) {
      reader.cancel();
      return true;
    }
  }
}

function parseEvent(block) {
  const members = block.split('\n');
  const read = (name) => {
    const line = members.find((member) => member.startsWith(`${name}: `));
    return line?.slice(name.length + 2);
  };
  return { type: read('event'), id: read('id'), data: read('data') };
}
