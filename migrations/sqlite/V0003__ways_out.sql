-- More ways out for events: a task's own webhook, and logs outside such as NATS JetStream.

-- What the provider calls the task's type: told back in the provider's own shape, also after the document is erased.
ALTER TABLE task_documents ADD COLUMN task_type TEXT;  -- NULL = erased before this column came

UPDATE task_documents SET task_type = json_extract(document, '$.taskType')
 WHERE document IS NOT NULL AND json_valid(document) AND json_type(document, '$.taskType') = 'text';

-- The `webhookURL` of a submitted task: a subscription for that task alone.
CREATE TABLE task_webhooks (
  task_id INTEGER PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  url     TEXT NOT NULL,                        -- may hold the client's token: secret
  origin  TEXT NOT NULL,                        -- scheme, host and port: tries at once are bounded for each
  gone_at INTEGER                               -- when it answered 410; NULL = it did not
) STRICT;

-- One event to one task's webhook. Made in the commit that writes the event.
CREATE TABLE task_deliveries (
  id             INTEGER PRIMARY KEY,
  task_id        INTEGER NOT NULL REFERENCES task_webhooks (task_id) ON DELETE CASCADE,
  event_sequence INTEGER NOT NULL UNIQUE REFERENCES events (sequence) ON DELETE CASCADE,
  origin         TEXT    NOT NULL,
  status         TEXT    NOT NULL CHECK (status IN ('new', 'pending', 'sending', 'waiting', 'delivered', 'dead')),
                                                -- 'new' = the wait before the first try is not added yet
  attempts       INTEGER NOT NULL DEFAULT 0,    -- claims so far
  spared         INTEGER NOT NULL DEFAULT 0,    -- of these, before the last redrive: the schedule does not count them
  due_at         INTEGER,                       -- NULL = delivered or dead
  lease_until    INTEGER,                       -- NULL = nobody holds it
  lease_epoch    INTEGER NOT NULL DEFAULT 0,    -- raised by every claim
  send_at        INTEGER GENERATED ALWAYS AS (CASE WHEN status IN ('new', 'pending', 'sending', 'waiting')
                   THEN coalesce(lease_until, due_at) END) STORED,
  CHECK ((status IN ('delivered', 'dead')) = (due_at IS NULL))  -- I11
) STRICT;

CREATE INDEX task_deliveries_send_at ON task_deliveries (origin, send_at) WHERE send_at IS NOT NULL;
CREATE INDEX task_deliveries_next ON task_deliveries (send_at) WHERE send_at IS NOT NULL;
CREATE INDEX task_deliveries_new ON task_deliveries (status) WHERE status = 'new';
CREATE INDEX task_deliveries_leased ON task_deliveries (origin, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_deliveries_of_task ON task_deliveries (task_id);

CREATE TABLE task_attempts (
  id             INTEGER PRIMARY KEY,
  delivery_id    INTEGER NOT NULL REFERENCES task_deliveries (id) ON DELETE CASCADE,
  number         INTEGER NOT NULL CHECK (number >= 1),
  at             INTEGER NOT NULL,
  duration_ms    INTEGER NOT NULL,
  http_status    INTEGER,                       -- NULL = nothing answered
  code           TEXT,                          -- why nothing answered; NULL = something did
  retry_after_ms INTEGER,                       -- NULL = the receiver asked for none
  excerpt        TEXT,                          -- the start of a refusal's body; NULL = taken, or nothing answered
  UNIQUE (delivery_id, number)
) STRICT;

-- How far the logs outside have got.
CREATE TABLE sinks (
  name     TEXT PRIMARY KEY,
  position INTEGER NOT NULL,                    -- every event up to this sequence was acknowledged there, or passed over
  in_use   INTEGER NOT NULL CHECK (in_use IN (0, 1))  -- 0 = not in the settings any more: it holds nothing back
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;
