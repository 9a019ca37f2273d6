-- Carries out transactions: the meaning of src/transaction.rs on Redis. It changes when that language does, not when a rule does.
--
-- KEYS: the records of all transactions, one after the other. ARGV[1]: MessagePack, as redis/encode.rs writes it:
--   { now or false for the server's time, { transaction, ... } }        transaction = { records, require, options }
--   record = { kind, read, start or limit, after or unless_applied }    option = { guards, writes }
--   guard = { code, record, ... }   write = { code, record, ... }       records are named by place, from 1
--   linear = { constant, coefficient of now, coefficient, record, field, ... }   value = text | number | { linear, ... }
-- Answer, as redis/decode.rs reads it: { now, { 0, option } | { 1, guard or -1 } | { 2 }, each followed by the records, or { 3, fault } }.
--
-- A script's error does not undo its writes. So each transaction is worked out whole, its types and ranges checked, before
-- it writes anything; and a fault in one (pcall) neither hides nor undoes the others.

local call, format, floor, find, sub = redis.call, string.format, math.floor, string.find, string.sub
local HASH, PACKED, INDEX, LOG = 1, 2, 3, 4
local WHOLE, FIRST, MEMBERS_AFTER, ENTRIES_AFTER = 1, 2, 3, 4
local LIMIT, EXACT = 2 ^ 46, 2 ^ 53

local input = cmsgpack.unpack(ARGV[1])
local now, server_time = input[1], false
if not now then
  local time = call('TIME')
  now, server_time = time[1] * 1000 + floor(time[2] / 1000), true
end

-- Raised when a guard, a write or an expression counts on what is not there.
local MISSING = {}

-- The transaction at work. By place of the record: `before` is a hash's fields (of an absent one, those it starts with) or a
-- packed record's value; `flat` a hash as HGETALL gave it; `present` whether the record exists; `kept` whether its key does.
-- `base` and `set` are what an option makes of a hash: the fields that stay and, over them, those that are new; `put` the same
-- for a packed record. `wiped` keys are deleted first. `lists` are the commands on indexes and logs.
local records, first_key, before, flat, present, kept
local base, set, put, put_purge, wiped, lists

local function fault(reason) error(reason, 0) end

local function kept_number(n)
  if n >= LIMIT or n <= -LIMIT then fault('a number is out of range') end
  return n
end

-- Never tostring: it has 14 digits, and turns what is longer into text with an exponent.
local function decimal(n) return format('%.0f', n) end

local function parse(text)
  if not find(text, '^%-?%d+$') then fault('a field that counts is no integer') end
  return kept_number(tonumber(text))
end

local function exact(n)
  if n >= EXACT or n <= -EXACT then fault('an expression is out of range') end
  return n
end

local function linear(l)
  local sum = l[1]
  if l[2] ~= 0 then sum = exact(sum + exact(l[2] * now)) end
  for i = 3, #l, 3 do
    local fields = before[l[i + 1]]
    local text = fields and fields[l[i + 2]]
    if not text then error(MISSING) end
    sum = exact(sum + exact(l[i] * parse(text)))
  end
  return sum
end

-- A number, or a text.
local function value(v)
  if type(v) == 'table' then
    local greatest = linear(v[1])
    for i = 2, #v do greatest = math.max(greatest, linear(v[i])) end
    return kept_number(greatest)
  elseif type(v) == 'number' then
    return kept_number(v)
  end
  return v
end

local function text(v)
  v = value(v)
  return type(v) == 'number' and decimal(v) or v
end

local function load_hash(i, record, key)
  local reply = call('HGETALL', key)
  if #reply > 0 then
    local fields = {}
    for j = 1, #reply, 2 do fields[reply[j]] = reply[j + 1] end
    kept[i] = true
    local purge_at = fields.purge_at
    if not purge_at or parse(purge_at) > now then
      before[i], flat[i], present[i] = fields, reply, true
      return
    end
  end
  local start = record[3]
  if start then
    local fields = {}
    for j = 1, #start, 2 do fields[start[j]] = text(start[j + 1]) end
    before[i] = fields
  end
end

local function load_packed(i, key)
  local reply = call('GET', key)
  if reply then
    kept[i] = true
    local bar = find(reply, '|', 1, true)
    if not bar then fault('a packed record has no purge time') end
    local purge_at = parse(sub(reply, 1, bar - 1))
    if purge_at == 0 or purge_at > now then
      before[i], present[i] = sub(reply, bar + 1), true
    end
  end
end

local guards = {
  function(g) return not present[g[2]] end,
  function(g) return present[g[2]] or false end,
  function(g) return before[g[2]] == g[3] end,
  function(g)
    local fields = before[g[2]]
    local found = fields and fields[g[3]]
    if not found then error(MISSING) end
    return found == g[4]
  end,
  function(g) return linear(g[2]) <= 0 end,
  function(g)
    local first = call('ZRANGE', KEYS[first_key + g[2]], 0, 0, 'WITHSCORES')
    return not first[2] or tonumber(first[2]) > now
  end,
  function(g)
    local last = call('ZRANGE', KEYS[first_key + g[2]], -1, -1, 'WITHSCORES')
    return not last[2] or tonumber(last[2]) <= now
  end,
}

local function new_field(i, field, v)
  local fields = set[i]
  if not fields then
    fields = {}
    set[i] = fields
  end
  fields[field] = v
end

local function add(w)
  local i, field = w[2], w[3]
  local found = set[i] and set[i][field] or base[i] and base[i][field]
  if not found then error(MISSING) end
  if type(found) ~= 'number' then found = parse(found) end
  new_field(i, field, found + w[4])
end

local function list(...) lists[#lists + 1] = { ... } end

local writes = {
  add,
  function(w) if set[w[2]] or base[w[2]] then add(w) end end,
  function(w) new_field(w[2], w[3], value(w[4])) end,
  function(w)
    local parts = w[3]
    for j = 1, #parts do parts[j] = text(parts[j]) end
    put[w[2]], put_purge[w[2]] = table.concat(parts), w[4] and value(w[4]) or 0
  end,
  function(w)
    local i = w[2]
    base[i], set[i], put[i], wiped[i] = nil, nil, nil, true
    if records[i][1] == LOG then list('DEL', KEYS[first_key + i]) end
  end,
  function(w) list('ZADD', KEYS[first_key + w[2]], text(w[4]), w[3]) end,
  function(w) list('ZREM', KEYS[first_key + w[2]], w[3]) end,
  function(w)
    local command, keep, fields = { 'XADD', KEYS[first_key + w[2]] }, w[3], w[4]
    if keep then command[3], command[4] = 'MAXLEN', decimal(keep) end
    command[#command + 1] = '*'
    for j = 1, #fields, 2 do
      command[#command + 1] = fields[j]
      command[#command + 1] = text(fields[j + 1])
    end
    lists[#lists + 1] = command
  end,
}

-- Works out what an option makes of the records.
local function plan(option_writes)
  base, set, put, put_purge, wiped, lists = {}, {}, {}, {}, {}, {}
  for i = 1, #records do
    if records[i][1] == HASH and before[i] then
      if present[i] then
        base[i] = before[i]
      else
        for field, v in pairs(before[i]) do new_field(i, field, v) end
      end
    end
  end
  for j = 1, #option_writes do
    local w = option_writes[j]
    writes[w[1]](w)
  end
end

-- Makes texts of the new numbers, and finds every fault that a command below could otherwise still raise.
local function check()
  for i = 1, #records do
    local kind = records[i][1]
    if kind == HASH then
      if set[i] then
        for field, v in pairs(set[i]) do
          if type(v) == 'number' then set[i][field] = decimal(kept_number(v)) end
        end
        if set[i].purge_at then parse(set[i].purge_at) end
      end
    elseif kind ~= PACKED then
      call(kind == INDEX and 'ZCARD' or 'XLEN', KEYS[first_key + i])
    end
  end
end

-- With an injected clock the server's own says nothing about when a key should go, so it keeps it.
local function apply_hash(i, key)
  if wiped[i] or set[i] and not base[i] and kept[i] then call('DEL', key) end
  if not set[i] then
    before[i], flat[i] = base[i], base[i] and flat[i]
    present[i] = before[i] ~= nil
    return
  end
  local command = { 'HSET', key }
  for field, v in pairs(set[i]) do
    command[#command + 1] = field
    command[#command + 1] = v
  end
  call(unpack(command))
  local purge_at = set[i].purge_at and tonumber(set[i].purge_at)
  if purge_at and server_time then call('PEXPIRE', key, decimal(purge_at - now)) end
  local fields = base[i] or {}
  for field, v in pairs(set[i]) do fields[field] = v end
  before[i], flat[i] = fields, nil
  present[i] = not purge_at or purge_at > now
end

local function apply_packed(i, key)
  local purge_at = put_purge[i]
  if put[i] and (purge_at == 0 or purge_at > now) then
    local content = decimal(purge_at) .. '|' .. put[i]
    if purge_at ~= 0 and server_time then
      call('SET', key, content, 'PX', decimal(purge_at - now))
    else
      call('SET', key, content)
    end
    before[i], present[i] = put[i], true
  elseif put[i] or wiped[i] then
    call('DEL', key)
    before[i], present[i] = nil, false
  end
end

local function apply()
  for i = 1, #records do
    local kind, key = records[i][1], KEYS[first_key + i]
    if kind == HASH then
      apply_hash(i, key)
    elseif kind == PACKED then
      apply_packed(i, key)
    end
  end
  for j = 1, #lists do call(unpack(lists[j])) end
end

local function members_after(key, member, limit)
  local from = member == '' and '-' or '(' .. member
  local members = call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, limit)
  -- All scores of such an index are equal.
  local score = members[1] and call('ZSCORE', key, members[1])
  local reply = {}
  for j = 1, #members do reply[2 * j - 1], reply[2 * j] = members[j], score end
  return reply
end

local function read_hash(i)
  if not present[i] then return false end
  if flat[i] then return flat[i] end
  local reply = {}
  for field, v in pairs(before[i]) do
    reply[#reply + 1] = field
    reply[#reply + 1] = v
  end
  return reply
end

local function read(i, applied)
  local record, key = records[i], KEYS[first_key + i]
  local how, limit = record[2], record[3]
  if how == WHOLE then
    if record[1] == HASH then return read_hash(i) end
    return present[i] and before[i] or false
  elseif how == FIRST and not (applied and record[4]) then
    return limit == 0 and {} or call('ZRANGE', key, 0, limit - 1, 'WITHSCORES')
  elseif how == MEMBERS_AFTER then
    return limit == 0 and {} or members_after(key, record[4], limit)
  elseif how == ENTRIES_AFTER then
    local from = record[4] == '' and '-' or '(' .. record[4]
    return limit == 0 and {} or call('XRANGE', key, from, '+', 'COUNT', limit)
  end
  return 0
end

-- The place of the guard of `require` being evaluated; -1 after them.
local position

local function decide(transaction)
  for i = 1, #transaction[2] do
    position = i - 1
    local g = transaction[2][i]
    if not guards[g[1]](g) then return { 1, position } end
  end
  position = -1
  for i = 1, #transaction[3] do
    local option, holds = transaction[3][i], true
    for j = 1, #option[1] do
      local g = option[1][j]
      holds = guards[g[1]](g)
      if not holds then break end
    end
    if holds then
      -- A dry option makes no record start either.
      if #option[2] > 0 then
        plan(option[2])
        check()
        return { 0, i - 1 }, true
      end
      return { 0, i - 1 }
    end
  end
  return { 2, 0 }
end

local function carry_out(transaction)
  records, before, flat, present, kept = transaction[1], {}, {}, {}, {}
  for i = 1, #records do
    local kind = records[i][1]
    if kind == HASH then
      load_hash(i, records[i], KEYS[first_key + i])
    elseif kind == PACKED then
      load_packed(i, KEYS[first_key + i])
    end
  end
  local decided, outcome, writing = pcall(decide, transaction)
  if not decided then
    if outcome ~= MISSING then error(outcome, 0) end
    outcome, writing = { 1, position }, false
  end
  if writing then apply() end
  for i = 1, #records do outcome[i + 2] = read(i, outcome[1] == 0) end
  return outcome
end

local answer = { now }
first_key = 0
for i = 1, #input[2] do
  local done, reply = pcall(carry_out, input[2][i])
  if not done then reply = { 3, type(reply) == 'table' and reply.err or tostring(reply) } end
  answer[i + 1] = reply
  first_key = first_key + #input[2][i][1]
end
return answer
