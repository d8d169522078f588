/* What other pages may use (viewer/README.md). */
export { readSnapshot, SnapshotError } from './snapshot.js';
export { HeapView } from './heapview.js';
export { Inspector } from './inspector.js';
export { texts } from './texts/index.js';
export { describe, titleOf } from './describe.js';
export { legendOf } from './legend.js';
