/* Where things are in the picture, in CSS pixels. */
export const MARGIN = 12;
export const GUTTER = 112; // left of the rows: their addresses
export const LANE = { maps: 22, segments: 46, blocks: 72 };
export const TALLEST_ROW = 40;
export const GRID_LEAST = 3; // device pixels of a cell below which a run is a mixture of its colours
