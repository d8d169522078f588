export function hex(address) {
  return `0x${address.toString(16)}`;
}
