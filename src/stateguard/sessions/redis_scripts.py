"""The Lua scripts of the Redis store: each runs as one step, so nothing can come in between.

A session is one hash: ``v`` version, ``e`` epoch, ``o`` owner, ``d`` head, ``n`` length and ``b`` bytes of
the log, ``x`` time to live, ``t`` the tokens of the last commits, and the log's items under their positions.
One key is evicted, expires and moves between cluster nodes as a whole. A field is written in constant time,
so a commit costs what it appends.

Redis does not undo what a script wrote before it failed. So all reading comes first (a key of another type
fails there), and the first write is one that Redis refuses when it is out of memory: either all is written or
nothing. Every reply begins with the caller's own nonce: a reply that a broken connection delivers to the
wrong caller is recognised by it.
"""

from __future__ import annotations

from stateguard.sessions.record import KEPT_TOKENS

READ = """
local f = redis.call('HMGET', KEYS[1], 'v', 'e', 'o', 'd', 'n', 'b', 'x')
if not f[1] then return {ARGV[1], 0} end
if f[7] then redis.call('PEXPIRE', KEYS[1], f[7]) end
local n = tonumber(f[5])
local first = 0
if ARGV[2] == 'window' then first = math.max(n - tonumber(ARGV[3]), 0)
elseif ARGV[2] == 'start' then first = math.min(tonumber(ARGV[3]), n) end
local items = {}
local position = first
while position < n do
  local names = {}
  local last = math.min(position + 4000, n)
  for i = position, last - 1 do names[#names + 1] = i end
  local found = redis.call('HMGET', KEYS[1], unpack(names))
  for i = 1, #names do
    if not found[i] then return {ARGV[1], 2, names[i], n} end
    items[#items + 1] = found[i]
  end
  position = last
end
return {ARGV[1], 1, f[1], f[2], f[3] or false, f[4], first, n, f[6], '[' .. table.concat(items, ',') .. ']'}
"""
"""KEYS: record. ARGV: nonce, 'all' | 'window' | 'start', number."""

COMMIT = (
    f"local KEPT = {KEPT_TOKENS}"
    + """
local holder = redis.call('GET', KEYS[2])
local f = redis.call('HMGET', KEYS[1], 'v', 'e', 'n', 't')
local version = tonumber(f[1] or '0')
local tokens = f[4] or ''
if string.find(tokens, ARGV[2], 1, true) then return {ARGV[1], 1} end
if holder and holder ~= ARGV[10] then return {ARGV[1], 0} end
if version ~= tonumber(ARGV[3]) then return {ARGV[1], 0} end
if version > 0 and f[2] ~= ARGV[4] then return {ARGV[1], 0} end
local n = tonumber(f[3] or '0')
local keep = tonumber(ARGV[5])
if keep > n then return {ARGV[1], 2, n} end
redis.call('HSET', KEYS[1], 'v', version + 1, 'e', ARGV[4], 'd', ARGV[6], 'b', ARGV[7],
  'n', keep + #ARGV - 10, 't', string.sub(ARGV[2] .. ' ' .. tokens, 1, 17 * KEPT))
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'o', string.sub(ARGV[8], 2))
else redis.call('HDEL', KEYS[1], 'o') end
local position = keep + #ARGV - 10
while position < n do
  local names = {}
  for i = position, math.min(position + 4000, n) - 1 do names[#names + 1] = i end
  redis.call('HDEL', KEYS[1], unpack(names))
  position = position + #names
end
for i = 11, #ARGV do redis.call('HSET', KEYS[1], keep + i - 11, ARGV[i]) end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'x', ARGV[9])
  redis.call('PEXPIRE', KEYS[1], ARGV[9])
else
  redis.call('HDEL', KEYS[1], 'x')
  redis.call('PERSIST', KEYS[1])
end
return {ARGV[1], 1}
"""
)
"""KEYS: record, lock. ARGV: nonce, token, version, epoch, keep, head, log bytes, '=' + owner or '', ttl in ms
or '', the lock's token or '', then the items to append."""

ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[2] then return {ARGV[1], 0} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[1], 1}
"""
"""KEYS: lock. ARGV: nonce, token, lease in ms."""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[2] then redis.call('DEL', KEYS[1]) end
return {ARGV[1], 1}
"""
"""KEYS: lock. ARGV: nonce, token."""

DELETE = """
if ARGV[2] ~= '' then
  local f = redis.call('HMGET', KEYS[1], 'v', 'e')
  if f[1] ~= ARGV[2] or f[2] ~= ARGV[3] then return {ARGV[1], 0} end
end
redis.call('DEL', KEYS[1])
return {ARGV[1], 1}
"""
"""KEYS: record. ARGV: nonce, version or '', epoch."""
