/** The error code at the root of a failed fetch: `ECONNREFUSED`, `UND_ERR_SOCKET` … */
export function networkCode(error: unknown): string | undefined {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    const code = (cause as { code?: unknown }).code;
    // OpenSSL 3 names some with a slash: ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE.
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_/]+$/.test(code)) return code;
    // Several addresses were tried and each failed in its own way.
    if (cause instanceof AggregateError && cause.errors.length > 0) return networkCode(cause.errors[0]);
  }
  return undefined;
}
