"""Shelly smart plugs, generation 2 and newer: watts at the wall, asked over HTTP.

Whatever goes wrong on the way is a MeterError that names the plug's address.
"""

import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError

PATH = "/rpc/Switch.GetStatus?id=0"
UPDATE_S = 1.0
MOST_BYTES = 65536  # an answer has a few hundred
KNOWN = (
    "apower of Switch.GetStatus (Shelly Gen2+); refreshed about once a second, resolved to 0.1 W, "
    "taken as averaged over that second [unverified]; for totals over minutes only"
)
LOGIN_FIX = "turn the password off on the plug's own web page: Settings, Authentication"


class ShellySensor:
    """Watts that a plug sees; url such as http://192.168.1.50. Its energy counter is too coarse.

    Raises MeterError for an address that is not http or https.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 2.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._url = _checked(url)
        self._timeout_s = timeout_s
        self._clock = clock

    @property
    def info(self) -> SensorInfo:
        """What it is; the same before and after open()."""
        return SensorInfo(
            id="shelly",
            scope="wall",
            kind="power",
            update_s=UPDATE_S,
            averaging_s=UPDATE_S,
            resolution=0.1,
            rel_accuracy=math.nan,
            excludes=("what a battery of the device gives or takes",),
            provenance=f"{KNOWN}; {self._url}",
        )

    def open(self) -> None:
        """Ask once. Raises MeterError."""
        self.read()

    def read(self) -> Reading:
        """Watts, at the middle of the time that the answer took; 0 W where the plug is off."""
        asked_s = self._clock()
        body = self._get()
        at_s = (asked_s + self._clock()) / 2
        return Reading(at_s, watts=self._watts(body))

    def close(self) -> None:
        """Nothing to let go of: a connection lasts for one answer."""

    def _get(self) -> bytes:
        # No proxy: the plug stands in this network. No handler for file: and ftp: either.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self._url + PATH, timeout=self._timeout_s) as response:
                return bytes(response.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            fix = LOGIN_FIX if error.code == 401 else self._curl_fix()
            raise self._failed(f"answered HTTP {error.code} {error.reason}", fix) from error
        except TimeoutError as error:
            reason = f"gave no answer in {self._timeout_s:g} s"
            raise self._failed(reason, self._curl_fix()) from error
        except urllib.error.URLError as error:
            raise self._failed(f"cannot be reached: {error.reason}", self._curl_fix()) from error
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise self._failed(f"broke off: {said}", self._curl_fix()) from error

    def _watts(self, body: bytes) -> float:
        try:
            status = json.loads(body)
        except ValueError as error:
            raise self._failed(f"answered no JSON: {body[:60]!r}", self._curl_fix()) from error
        watts = status.get("apower") if isinstance(status, dict) else None
        if isinstance(watts, bool) or not isinstance(watts, int | float):
            raise self._failed(
                f"gave no number as apower: {body[:60]!r}",
                "take a plug that meters power, of generation 2 or newer (Shelly Plug S Gen3)",
            )
        if not math.isfinite(watts):
            raise self._failed(f"gave {watts} as apower", self._curl_fix())
        return float(watts)

    def _failed(self, what: str, fix: str) -> MeterError:
        return MeterError(f"the Shelly plug at {self._url} {what}", fix)

    def _curl_fix(self) -> str:
        return f"check its address with `curl '{self._url}{PATH}'`"


def _checked(url: str) -> str:
    """The address without a slash at its end."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:  # a port or an IPv6 address that cannot be
        is_address = False
    if not is_address:
        raise MeterError(
            f"a plug's address begins with http:// or https://, given {url!r}",
            "give it as in http://192.168.1.50",
        )
    return url.rstrip("/")
