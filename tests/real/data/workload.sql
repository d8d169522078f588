PRAGMA cache_size = -8000;
PRAGMA synchronous = off;
CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, name TEXT, body BLOB, amount REAL);
INSERT INTO t
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @ROWS@)
  SELECT i, (i * 7919) % 10007, 'name-' || ((i * 31) % 4999), CAST(printf('%.*c', i % 97, 'b') AS BLOB), (i % 1000) / 8.0
  FROM n;
CREATE INDEX t_k ON t (k, name);
CREATE INDEX t_name ON t (name);
ANALYZE;
SELECT count(*), sum(k), sum(length(body)), total(amount) FROM t;
SELECT k % 17 AS g, count(*), min(name), max(name), group_concat(DISTINCT k % 5) FROM t GROUP BY g ORDER BY g;
SELECT sum(length(x)) FROM (SELECT group_concat(name, '|') AS x FROM t GROUP BY k);
SELECT count(*), sum(a.id * b.id % 1000003) FROM t a JOIN t b ON b.k = a.k AND b.id > a.id AND b.id < a.id + 30000;
SELECT name, c, rank() OVER (ORDER BY c DESC, name) FROM (SELECT name, count(*) c FROM t GROUP BY name) ORDER BY 3 LIMIT 40;
SELECT sum(s) FROM (SELECT sum(amount) OVER (PARTITION BY k ORDER BY id ROWS 5 PRECEDING) AS s FROM t);
BEGIN;
UPDATE t SET name = upper(name) || '-' || id, amount = amount + 0.5 WHERE k % 3 = 0;
DELETE FROM t WHERE id % 7 = 0;
SAVEPOINT s;
DELETE FROM t WHERE id % 2 = 0;
ROLLBACK TO s;
INSERT INTO t (k, name, body) SELECT k, replace(name, 'name', 'again'), zeroblob(id % 300) FROM t WHERE id % 11 = 0;
COMMIT;
SELECT count(*), sum(k), max(id), sum(length(name)), sum(length(body)), total(amount) FROM t;
CREATE VIRTUAL TABLE words USING fts5 (title, text);
INSERT INTO words
  SELECT 'title ' || id, replace(name, '-', ' ') || ' and ' || k || ' words in ' || (id % 71) || ' rows' FROM t WHERE id % 5 = 0;
SELECT count(*) FROM words WHERE words MATCH 'again AND rows';
SELECT snippet(words, 1, '[', ']', '..', 6) FROM words WHERE words MATCH '12 OR 70' ORDER BY rowid LIMIT 60;
SELECT count(*), sum(rowid % 1009) FROM words WHERE words MATCH 'name NOT again';
INSERT INTO words (words) VALUES ('optimize');
SELECT sum(length(j)), max(json_extract(j, '$.a[1].b')) FROM
  (SELECT json_object('id', id, 'a', json_array(k, json_object('b', name))) AS j FROM t WHERE id % 13 = 0);
SELECT count(*) FROM t, json_each(json_array(1, 2, 3)) WHERE t.id % 3 = value;
CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER);
INSERT INTO tree SELECT id, id / 3 FROM t WHERE id < 20000;
WITH RECURSIVE below(id, depth) AS (SELECT 1, 0 UNION ALL SELECT tree.id, depth + 1 FROM tree JOIN below ON tree.parent = below.id)
  SELECT depth, count(*) FROM below WHERE depth < 12 GROUP BY depth;
VACUUM;
SELECT 'integrity ' || integrity_check FROM pragma_integrity_check;
