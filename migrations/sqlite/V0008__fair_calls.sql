-- Calls of tasks' own webhooks: shared fairly between tenants and their receivers, and never dead without a reason.

ALTER TABLE task_deliveries ADD COLUMN tenant TEXT NOT NULL DEFAULT '';  -- of its task
ALTER TABLE task_deliveries ADD COLUMN reason TEXT;       -- why it is dead: 'out_of_tries', 'gone'; NULL = it is not
ALTER TABLE task_deliveries ADD COLUMN died_at INTEGER;   -- ms since the epoch; NULL = it is not dead

UPDATE task_deliveries SET tenant = (SELECT t.tenant FROM tasks t WHERE t.id = task_id);
UPDATE task_deliveries SET
  reason = CASE WHEN EXISTS (SELECT 1 FROM task_webhooks w WHERE w.task_id = task_deliveries.task_id AND w.gone_at IS NOT NULL)
           THEN 'gone' ELSE 'out_of_tries' END,
  died_at = coalesce((SELECT max(a.at + a.duration_ms) FROM task_attempts a WHERE a.delivery_id = task_deliveries.id),
                     (SELECT w.gone_at FROM task_webhooks w WHERE w.task_id = task_deliveries.task_id),
                     (SELECT e.at FROM events e WHERE e.sequence = event_sequence))
  WHERE status = 'dead';

-- How a tenant's receiver (scheme, host, port) has been doing since it last took something. One that is well has no row.
CREATE TABLE call_health (
  tenant        TEXT    NOT NULL,
  origin        TEXT    NOT NULL,
  failures      INTEGER NOT NULL,               -- tries in a row that failed
  failing_since INTEGER,                        -- ms since the epoch: the first of them
  failed_at     INTEGER,                        -- ms since the epoch: the last of them
  down_since    INTEGER,                        -- ms since the epoch; NULL = not held to be down
  rests_until   INTEGER,                        -- ms since the epoch: no try before; NULL = it does not rest
  PRIMARY KEY (tenant, origin)
) STRICT, WITHOUT ROWID;

DROP INDEX task_deliveries_send_at;
CREATE INDEX task_deliveries_send_at ON task_deliveries (tenant, origin, send_at) WHERE send_at IS NOT NULL;
DROP INDEX task_deliveries_leased;
CREATE INDEX task_deliveries_leased ON task_deliveries (tenant, origin, lease_until) WHERE lease_until IS NOT NULL;

PRAGMA user_version = 8;
