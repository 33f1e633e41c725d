/** A request that failed: the server's sentence, or why there is no reply. */
export class CaudexError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, requestId?: string, body?: any, retryAfter?: number | null}} details
   */
  constructor(message, { status = 0, requestId = '', body = null, retryAfter = null } = {}) {
    super(message);
    this.name = 'CaudexError';
    /** The status of the reply; 0 without a reply. */
    this.status = status;
    /** The id by which the server's log and audit trail name the request. */
    this.requestId = requestId;
    /** The decoded body of the reply. */
    this.body = body;
    /** Seconds after which the server asks to try again; null where it does not. */
    this.retryAfter = retryAfter;
  }
}

/**
 * Return the error of a reply that refuses a request.
 * @param {Response} response @param {string} text its body
 */
export function errorOfReply(response, text) {
  const body = decodeJson(text);
  const message = body?.error ?? `the server answered ${response.status}`;
  const seconds = Number(response.headers.get('retry-after') ?? NaN);
  return new CaudexError(message, {
    status: response.status,
    requestId: response.headers.get('x-request-id') ?? '',
    body: body ?? text,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  });
}

/** Decode JSON; null for another text. @param {string} text */
function decodeJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
