"""Sessions in Redis: one hash each, whose fields are the session's keys and whose expiry is the session's."""

import json

from redis.asyncio import Redis

from micropie import SessionBackend

# Redis runs a script as one step: nothing comes in between, from whatever process.
UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, name in ipairs(cjson.decode(ARGV[3])) do redis.call('HDEL', KEYS[1], name) end
for name, value in pairs(cjson.decode(ARGV[2])) do redis.call('HSET', KEYS[1], name, value) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""

RENAME = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""


class RedisSessions(SessionBackend):
    def __init__(self, url):
        self.redis = Redis.from_url(url, decode_responses=True)
        self._update = self.redis.register_script(UPDATE)
        self._rename = self.redis.register_script(RENAME)

    async def load(self, session_id):
        fields = await self.redis.hgetall(key(session_id))
        return {name: json.loads(value) for name, value in fields.items()}

    async def save(self, session_id, data, timeout):
        async with self.redis.pipeline(transaction=True) as step:
            step.delete(key(session_id))
            if data:
                step.hset(key(session_id), mapping=encoded(data))
                step.expire(key(session_id), timeout)
            await step.execute()

    async def update(self, session_id, changed, removed, timeout):
        arguments = [timeout, json.dumps(encoded(changed)), json.dumps(list(removed))]
        return bool(await self._update(keys=[key(session_id)], args=arguments))

    async def rename(self, session_id, new_id, timeout):
        return bool(await self._rename(keys=[key(session_id), key(new_id)], args=[timeout]))

    async def delete(self, session_id):
        await self.redis.delete(key(session_id))


def key(session_id):
    return f"session:{session_id}"


def encoded(data):
    return {name: json.dumps(value) for name, value in data.items()}
