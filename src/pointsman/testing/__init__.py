"""A fake provider for tests, and for trying things out: it speaks the real wire formats.

>>> from pointsman import Client, parse_config
>>> from pointsman.testing import Answer, FakeProvider
>>> with FakeProvider([Answer(text="Hello!")]) as fake:
...     config = parse_config(f'''
... [providers.fake]
... base_url = "{fake.url}/v1"
... ''')
...     with Client(config) as client:
...         client.chat("fake:any", "Hi").text
'Hello!'
"""

from pointsman.testing.assistant import NOTICE, answer_to
from pointsman.testing.example import example
from pointsman.testing.script import Answer, Call, Fault, Recorded, Reply, Script
from pointsman.testing.server import FakeProvider
from pointsman.testing.teacher import Faults, ScriptedTeacher

__all__ = [
    "NOTICE",
    "Answer",
    "Call",
    "FakeProvider",
    "Fault",
    "Faults",
    "Recorded",
    "Reply",
    "Script",
    "ScriptedTeacher",
    "answer_to",
    "example",
]
