"""EXIF of a camera's photographs: the time by its clock, its make, its serial number and its position."""

from datetime import datetime
from fractions import Fraction

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from bioclip_jax.datasets.camera_trap_mini.ecology import Deployment

_QUALITY = 85


def encode_jpeg(image: UInt8[np.ndarray, "height width 3"], exif: bytes) -> bytes:
    """Encode an RGB image with an EXIF segment."""
    ok, encoded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not ok:
        raise RuntimeError("OpenCV could not encode a frame")
    data = encoded.tobytes()
    # Right after the start of the image, before OpenCV's own header.
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def make_exif(deployment: Deployment, shown: datetime) -> bytes:
    """EXIF with the local time that the camera shows; EXIF times have no zone."""
    exif = Image.Exif()
    make, _, model = deployment.camera_model.partition(" ")
    exif[Base.Make], exif[Base.Model] = make, model
    text = shown.strftime("%Y:%m:%d %H:%M:%S")
    exif[Base.DateTime] = text
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal] = details[Base.DateTimeDigitized] = text
    details[Base.BodySerialNumber] = deployment.camera_id
    if deployment.gps:
        gps = exif.get_ifd(IFD.GPSInfo)
        gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = (
            "N" if deployment.latitude > 0 else "S",
            _dms(deployment.latitude),
        )
        gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = (
            "E" if deployment.longitude > 0 else "W",
            _dms(deployment.longitude),
        )
    return exif.tobytes()


def _dms(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Degrees, minutes and seconds, the seconds to a hundredth."""
    hundredths = round(abs(degrees) * 360_000)
    minutes, seconds = divmod(hundredths, 6000)
    whole, minutes = divmod(minutes, 60)
    return IFDRational(whole), IFDRational(minutes), IFDRational(Fraction(seconds, 100))
