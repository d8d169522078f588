/*
 * A map as of std::map: a balanced search tree of live= nodes of 48 to 64 bytes, from which one is removed
 * at random and into which another is put. What is touched is what the search touches: nodes all over the
 * heap. (A treap: of what a red-black tree does only the colours are missing, its blocks are the same.)
 */
#include "bench.h"

struct node {
    uint64_t key, priority;
    struct node *left, *right;
    uint64_t value[];
};

static struct node *root;

/* What is below a node, in two: keys less than `key`, and the others. */
static void map_split(struct node *from, uint64_t key, struct node **less, struct node **more)
{
    while (from) {
        if (from->key < key) {
            *less = from;
            less = &from->right;
            from = *less;
        } else {
            *more = from;
            more = &from->left;
            from = *more;
        }
    }
    *less = *more = NULL;
}

static struct node *map_join(struct node *less, struct node *more)
{
    struct node *joined, **at = &joined;
    while (less && more) {
        if (less->priority > more->priority) {
            *at = less;
            at = &less->right;
            less = *at;
        } else {
            *at = more;
            at = &more->left;
            more = *at;
        }
    }
    *at = less ? less : more;
    return joined;
}

static struct node *node_new(uint64_t key, struct rng *r)
{
    size_t words = 2 + rng_below(r, 3);
    struct node *node = take_bare(sizeof *node + words * sizeof *node->value);
    node->key = key;
    node->priority = rng_next(r);
    memset(node->value, TAG, words * sizeof *node->value);
    return node;
}

/* Below a node all priorities are smaller: that is what keeps the tree low. */
static void map_put(uint64_t key, struct rng *r)
{
    struct node *node = node_new(key, r);
    struct node **at = &root;
    while (*at && (*at)->priority >= node->priority)
        at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    map_split(*at, key, &node->left, &node->right);
    *at = node;
}

static void map_remove(uint64_t key)
{
    struct node **at = &root;
    while (*at && (*at)->key != key)
        at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    struct node *node = *at;
    if (!node)
        die("a key is missing");
    *at = map_join(node->left, node->right);
    free(node);
}

static void map_drop(struct node *node)
{
    if (!node)
        return;
    map_drop(node->left);
    map_drop(node->right);
    free(node);
}

/* A tree of nodes in the order of their keys, in linear time; path has room for all of them. */
static struct node *map_of(struct node **nodes, size_t count, struct node **path)
{
    size_t depth = 0; /* path: from the root to the node with the largest key */
    for (size_t i = 0; i < count; i++) {
        struct node *below = NULL;
        while (depth && path[depth - 1]->priority < nodes[i]->priority)
            below = path[--depth];
        nodes[i]->left = below;
        nodes[i]->right = NULL;
        if (depth)
            path[depth - 1]->right = nodes[i];
        path[depth++] = nodes[i];
    }
    return path[0];
}

/* The first nodes: keys all over the range, born in random order. */
static void map_fill(uint64_t *keys, size_t live, struct rng *r)
{
    struct node **nodes = own_pages(2 * live * sizeof *nodes);
    uint64_t apart = UINT64_MAX / live;
    for (size_t i = 0; i < live; i++) {
        size_t j = rng_below(r, i + 1); /* a shuffle: keys[] is the order of birth */
        keys[i] = keys[j];
        keys[j] = i;
    }
    for (size_t i = 0; i < live; i++) {
        size_t place = keys[i];
        keys[i] = place * apart + rng_below(r, apart);
        nodes[place] = node_new(keys[i], r);
    }
    root = map_of(nodes, live, nodes + live);
    own_pages_drop(nodes, 2 * live * sizeof *nodes);
}

uint64_t map(void)
{
    size_t live = param("live", 200000);
    uint64_t operations = scaled("ops", 100000);
    struct rng r = {26};
    if (!live)
        die("live= is at least 1");
    uint64_t *keys = own_pages(live * sizeof *keys);
    map_fill(keys, live, &r);
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t *key = &keys[rng_below(&r, live)];
        map_remove(*key);
        map_put(*key = rng_next(&r), &r);
    }
    map_drop(root);
    root = NULL;
    own_pages_drop(keys, live * sizeof *keys);
    return live + operations;
}
