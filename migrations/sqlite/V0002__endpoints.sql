-- Endpoints that filter, rotate their secret and are judged by how they do; deliveries that keep the order of their
-- task and can be sent again.

ALTER TABLE endpoints ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels)); -- object of strings, all of which an event's task must have
ALTER TABLE endpoints ADD COLUMN models TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(models)); -- array; empty = any model
ALTER TABLE endpoints ADD COLUMN old_secret BLOB;           -- the key before the last rotation; NULL = none signs beside the new one
ALTER TABLE endpoints ADD COLUMN old_secret_until INTEGER;  -- Unix ms UTC: it signs until then; NULL likewise
ALTER TABLE endpoints ADD COLUMN disabled_reason TEXT;      -- NULL = enabled
ALTER TABLE endpoints ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;  -- failed tries since it last took one
ALTER TABLE endpoints ADD COLUMN failing_since INTEGER;     -- Unix ms UTC, of the first of them; NULL = none has failed
ALTER TABLE endpoints ADD COLUMN down_since INTEGER;        -- Unix ms UTC; NULL = not held to be down
ALTER TABLE endpoints ADD COLUMN rests_until INTEGER;       -- Unix ms UTC: no try before; NULL = tried as they fall due

-- So far only an answer of 410 disabled one.
UPDATE endpoints SET disabled_reason = 'gone' WHERE disabled_at IS NOT NULL;

ALTER TABLE deliveries ADD COLUMN task_id INTEGER;          -- of its event; NULL = an operator event. No reference: the task may be removed
ALTER TABLE deliveries ADD COLUMN holds INTEGER NOT NULL DEFAULT 1 CHECK (holds IN (0, 1)); -- 1 = while open, later events of its task wait for it at this endpoint: when looked at, they get the last millisecond of the year 9999 as `due_at`, until it lets them go
ALTER TABLE deliveries ADD COLUMN not_before INTEGER;       -- Unix ms UTC: what the last Retry-After asked for; NULL = nothing
ALTER TABLE deliveries ADD COLUMN redriven INTEGER NOT NULL DEFAULT 0; -- tries made before it was last sent again: the schedule counts from there
ALTER TABLE deliveries ADD COLUMN reason TEXT;              -- why it is dead; NULL = it is not, or died before reasons were kept

UPDATE deliveries SET task_id = (SELECT task_id FROM events WHERE sequence = event_sequence);
UPDATE deliveries SET holds = 0 WHERE attempts > 0;

CREATE INDEX deliveries_in_order ON deliveries (endpoint_id, task_id, event_sequence) WHERE holds = 1 AND send_at IS NOT NULL;
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id);  -- and the row key: newest first, backwards
CREATE INDEX deliveries_dead ON deliveries (endpoint_id) WHERE status = 'dead';

PRAGMA user_version = 2;
