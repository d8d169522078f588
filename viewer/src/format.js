export function hex(address) {
  if (typeof address === 'string') return address; // beyond 2^53 (docs/formats.md)
  return `0x${address.toString(16)}`;
}
