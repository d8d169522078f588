CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price REAL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
INSERT INTO item SELECT i, 'item-' || (i * 7919 % 100003), i % 97, (i * 31 % 1000) / 7.0,
                        substr('the quick brown fox jumps over the lazy dog', 1 + i % 20, i % 23) FROM n;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_kind ON item(kind, price);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER);
INSERT INTO sale SELECT NULL, 1 + (id * 104729 % :rows), id % 13 FROM item;
SELECT count(*), sum(total) FROM (SELECT i.kind, sum(s.amount * i.price) AS total
                                  FROM sale s JOIN item i ON i.id = s.item GROUP BY i.kind, i.name);
SELECT length(group_concat(upper(name) || '/' || note, ';')) FROM item WHERE kind BETWEEN 10 AND 40;
UPDATE item SET note = note || ' ' || name WHERE kind < 30;
DELETE FROM item WHERE id % 5 = 0;
SELECT count(DISTINCT note), max(length(note)) FROM item;
SELECT json_array_length(json_group_array(json_object('n', name, 'p', price))) FROM item WHERE kind = 3;
