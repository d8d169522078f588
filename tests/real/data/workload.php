<?php
// Prints what it computed. With USE_ZEND_ALLOC=0 every value is a block of malloc's.
$count = (int)$argv[1];
mt_srand(7);
$table = [];
for ($i = 0; $i < $count; $i++)
    $table["key$i"] = ['n' => mt_rand(0, 999), 'text' => str_repeat(chr(97 + $i % 26), $i % 60), 'list' => range(0, $i % 7)];
for ($i = 0; $i < $count; $i += 3)
    unset($table["key$i"]);
uasort($table, fn($a, $b) => [$a['n'], $a['text']] <=> [$b['n'], $b['text']]);
$json = json_encode($table);
echo count($table), ' ', strlen($json), ' ', md5($json), "\n";
echo md5(serialize(json_decode($json, true))), "\n";

$text = '';
foreach ($table as $key => $row)
    $text .= preg_replace('/(\w)\1+/', '$1', $row['text']) . strrev($key) . "\n";
echo strlen($text), ' ', md5($text), ' ', count(array_unique(explode("\n", $text))), "\n";

class Node
{
    public array $children = [];
    public ?Node $parent = null;

    public function __construct(public int $depth)
    {
        for ($i = 0; $depth > 0 && $i < 3; $i++) {
            $child = new Node($depth - 1);
            $child->parent = $this; // a cycle: only the collector frees it
            $this->children[] = $child;
        }
    }
}

for ($round = 0; $round < 5; $round++)
    $tree = new Node(8);
unset($tree);
echo gc_collect_cycles() > 0 ? "cycles\n" : "none\n";

$numbers = (function () use ($count) {
    for ($i = 0; $i < $count; $i++)
        yield $i => sprintf('%05d', $i * 7919 % 100000);
})();
echo md5(implode(',', iterator_to_array($numbers))), "\n";
