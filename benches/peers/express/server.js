// A callback receiver on Express and better-sqlite3, as its users would write it: the token is checked, the body is
// stored durably (synchronous = FULL), then the answer goes out.
const crypto = require('node:crypto')
const express = require('express')
const Database = require('better-sqlite3')

const key = Buffer.from(process.env.CALLBACK_KEY, 'hex')
const keyId = crypto.createHash('sha256').update(key).digest()[0]

const db = new Database(process.env.DATABASE)
db.pragma('journal_mode = WAL')
db.pragma('synchronous = FULL')
db.exec(`CREATE TABLE IF NOT EXISTS receipts (
  task TEXT NOT NULL, sha256 BLOB NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (task, sha256))`)
const insert = db.prepare('INSERT INTO receipts (task, sha256, body, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')

function taskOf(token) {
  const raw = Buffer.from(token, 'base64url')
  if (raw.length !== 33 || raw[0] !== keyId) return null
  const mac = crypto.createHmac('sha256', key).update('cb.v1\0').update(raw.subarray(0, 17)).digest()
  return crypto.timingSafeEqual(mac.subarray(0, 16), raw.subarray(17)) ? raw.toString('hex', 1, 17) : null
}

const app = express()
app.disable('x-powered-by')
app.get('/livez', (req, res) => res.json({ ok: true }))
app.post('/cb/v1/:token', express.text({ type: () => true, limit: '256kb' }), (req, res) => {
  const task = taskOf(req.params.token)
  if (!task) return res.status(404).json({ error: 'not found' })
  const sha256 = crypto.createHash('sha256').update(req.body).digest()
  insert.run(task, sha256, req.body, Date.now())
  res.json({ received: true })
})
app.listen(Number(process.env.PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
