/** How messages name a request: `POST /v1/jobs`. */
export function requestLine(request: { method: string; path: string }): string {
  return `${request.method} /${request.path}`;
}
