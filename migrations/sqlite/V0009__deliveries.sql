-- Deliveries that cost one writer less: a claim touches no index but those of its time, and a delivery that is taken
-- keeps its last try in its own row. Work on a whole queue goes in small steps.

-- 'sending' is what a live lease tells from now on.
UPDATE deliveries SET status = iif(attempts > 1, 'waiting', 'pending') WHERE status = 'sending';

-- The try that was taken; those that failed before it are in `attempts`, and so are those of older deliveries.
ALTER TABLE deliveries ADD COLUMN taken_at INTEGER;        -- Unix ms UTC, when that try began; NULL = not taken, or told in `attempts`
ALTER TABLE deliveries ADD COLUMN taken_ms INTEGER;        -- how long it took; NULL likewise
ALTER TABLE deliveries ADD COLUMN taken_status INTEGER;    -- HTTP status; NULL likewise

-- `holds` = 1 only while open, so that a claim leaves this index alone.
UPDATE deliveries SET holds = 0 WHERE holds = 1 AND send_at IS NULL;
DROP INDEX deliveries_in_order;
CREATE INDEX deliveries_in_order ON deliveries (endpoint_id, task_id, event_sequence) WHERE holds = 1;
-- What waits for its next try and may go at once when its endpoint is well again.
CREATE INDEX deliveries_put_off ON deliveries (endpoint_id, due_at) WHERE holds = 1 AND status = 'waiting';

-- Those that are taken are counted by who settles them, many at once.
DROP TRIGGER deliveries_recounted;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries
WHEN old.status <> new.status AND new.status <> 'delivered' BEGIN
  UPDATE counts SET n = n - 1 WHERE subject = 'deliveries' AND status = old.status;
  UPDATE counts SET n = n + 1 WHERE subject = 'deliveries' AND status = new.status;
END;

ALTER TABLE endpoints ADD COLUMN failed_at INTEGER;        -- Unix ms UTC, of the last failed try since it took one; NULL = none, or not known
UPDATE endpoints SET failed_at = failing_since;

-- What is to be done with an endpoint's whole queue, some rows in each commit.
CREATE TABLE endpoint_chores (
  endpoint_id INTEGER PRIMARY KEY REFERENCES endpoints (id),
  kind        TEXT    NOT NULL CHECK (kind IN ('hasten', 'keep_order', 'renew', 'remove')),
  at          INTEGER NOT NULL,                            -- Unix ms UTC, when it was called for
  past        INTEGER NOT NULL,                            -- Unix ms UTC: rows due before are done
  past_id     INTEGER NOT NULL                             -- and of those due at `past`, these
) STRICT;

PRAGMA user_version = 9;
