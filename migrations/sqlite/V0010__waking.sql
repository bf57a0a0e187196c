-- Waking: what a callback changes besides its own row is nothing any more. That its task wants a query was written on
-- the task, a wide row on a page of its own for almost every callback; now the receipt itself says so, in an index that
-- grows at its end.

ALTER TABLE receipts ADD COLUMN waking INTEGER CHECK (waking = 1);  -- 1 = no query was claimed since; NULL = one was, or none is wanted

CREATE INDEX receipts_waking ON receipts (id, task_id) WHERE waking IS NOT NULL;

-- `tasks.receipt_count`, `tasks.woken_at` and `tasks.wake_at` are not used from here on.
UPDATE receipts SET waking = 1
 WHERE id IN (SELECT (SELECT max(r.id) FROM receipts r WHERE r.task_id = t.id) FROM tasks t WHERE t.wake_at IS NOT NULL);
-- A woken task without a receipt (an operator has removed it by hand) is asked about as one that is due.
UPDATE tasks SET due_at = min(coalesce(due_at, woken_at), woken_at)
 WHERE wake_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM receipts WHERE task_id = tasks.id);
UPDATE tasks SET woken_at = NULL WHERE wake_at IS NOT NULL;
DROP INDEX tasks_wake_at;

PRAGMA user_version = 10;  -- the number of this migration
