/* Short-lived trees, as a parser or a query planner makes them: built, walked, freed, while a few live for
 * longer. */
#include "bench.h"

struct node {
    uint64_t tag;
    struct node *left, *right;
    uint32_t keys[]; /* 0 to 6: nodes of a program are not all of one size */
};

static struct node *build(unsigned depth, struct rng *r)
{
    struct node *node = take(sizeof *node + (rng_next(r) & 3) * 2 * sizeof *node->keys);
    bool leaf = depth == 0;
    node->left = leaf ? NULL : build(depth - 1, r);
    node->right = leaf ? NULL : build(depth - 1, r);
    return node;
}

static uint64_t count(const struct node *node)
{
    return node ? 1 + count(node->left) + count(node->right) : 0;
}

static void drop(struct node *node)
{
    if (!node)
        return;
    drop(node->left);
    drop(node->right);
    give(node);
}

uint64_t trees(void)
{
    enum { KEPT = 32 };
    struct node *kept[KEPT] = {0};
    uint64_t nodes = scaled("nodes", 9000000), built = 0;
    unsigned depth_most = (unsigned)param("depth", 13);
    struct rng r = {5};

    while (built < nodes) {
        struct node *tree = build(2 + (unsigned)rng_below(&r, depth_most - 1), &r);
        built += count(tree);
        if (rng_next(&r) % 8 == 0) {
            struct node **slot = &kept[rng_next(&r) % KEPT];
            drop(*slot);
            *slot = tree;
        } else {
            drop(tree);
        }
    }
    for (unsigned i = 0; i < KEPT; i++)
        drop(kept[i]);
    return built;
}
