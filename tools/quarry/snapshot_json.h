/* A model as JSON: docs/formats.md. */
#ifndef QUARRY_SNAPSHOT_JSON_H
#define QUARRY_SNAPSHOT_JSON_H

#include "json.h"
#include "model.h"

void snapshot_json(struct json *j, const struct model *m);

/* "figures": { ... } alone, as a member. */
struct figures;
void snapshot_json_figures(struct json *j, const struct figures *f);

#endif
