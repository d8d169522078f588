CREATE TABLE w (id int PRIMARY KEY, k int, name text, doc jsonb, tags text[], amount numeric);
INSERT INTO w SELECT i, (i::bigint * 7919) % 1009, 'name-' || (i % 4999),
  jsonb_build_object('id', i, 'list', jsonb_build_array(i % 7, i % 11, repeat('x', i % 60)), 'sub', jsonb_build_object('k', i % 13)),
  ARRAY['t' || i % 5, 't' || i % 17, repeat('y', i % 40)], (i % 1000) / 8.0 FROM generate_series(1, :rows) i;
CREATE INDEX ON w (k, name);
CREATE INDEX ON w USING gin (doc);
CREATE INDEX ON w USING gin (tags);
ANALYZE w;
SELECT count(*), sum(k), sum(amount), md5(string_agg(name, ',' ORDER BY id DESC)) FROM w;
SELECT md5(string_agg(x, '|')) FROM (SELECT k || ':' || count(DISTINCT name) || ':' || string_agg(tags[1], '' ORDER BY id) AS x FROM w GROUP BY k ORDER BY k) s;
SELECT count(*), sum(a.id::bigint * b.id % 1000003) FROM w a JOIN w b ON b.k = a.k AND b.id > a.id AND b.id < a.id + 20000;
SELECT md5(string_agg(r::text, ',' ORDER BY id)) FROM (SELECT id, rank() OVER (PARTITION BY k ORDER BY name, id) r FROM w) s;
SELECT count(*) FROM w WHERE doc @> '{"sub": {"k": 5}}';
SELECT count(*) FROM w WHERE tags @> ARRAY['t3', 't7'];
SELECT md5(string_agg(d, '' ORDER BY d)) FROM (SELECT (jsonb_each_text(doc)).value AS d FROM w WHERE id % 17 = 0) s;
SELECT count(*), sum(length(regexp_replace(name, '(\d)(\d)', '\2-\1', 'g'))) FROM w WHERE name ~ '[1-3]{2}$';
WITH RECURSIVE t(i, d) AS (SELECT 1, 0 UNION ALL SELECT w.id, d + 1 FROM w JOIN t ON w.id IN (t.i * 2, t.i * 2 + 1) WHERE d < 12)
  SELECT d, count(*) FROM t GROUP BY d ORDER BY d;
CREATE FUNCTION f(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text := ''; a int[] := '{}'; r record;
BEGIN
  FOR i IN 1..n LOOP
    a := a || i;
    s := s || chr(97 + i % 26);
    BEGIN
      IF i % 50 = 0 THEN RAISE EXCEPTION 'at %', i; END IF;
    EXCEPTION WHEN OTHERS THEN s := s || SQLERRM;
    END;
  END LOOP;
  FOR r IN SELECT name FROM w WHERE k = n % 100 ORDER BY id LIMIT 50 LOOP s := s || r.name; END LOOP;
  RETURN md5(s || array_to_string(a, ','));
END $$;
SELECT f(2000), f(3000);
BEGIN;
UPDATE w SET name = upper(name), amount = amount * 1.5, tags = tags || 'new'::text WHERE k % 3 = 0;
DELETE FROM w WHERE id % 7 = 0;
COMMIT;
VACUUM ANALYZE w;
CREATE TEMP TABLE big AS SELECT repeat(md5(i::text), 2000) AS t FROM generate_series(1, 200) i;
SELECT md5(string_agg(reverse(t), '')), sum(length(t)) FROM big;
SELECT count(*), sum(k), sum(amount), md5(string_agg(name, ',' ORDER BY name, id)) FROM w;
SELECT xmlelement(name x, xmlagg(xmlelement(name y, name) ORDER BY id))::text = '' FROM w WHERE id < 500;
