"""Refused requests, each with one sentence in every language of the page."""

from __future__ import annotations

_SENTENCES = {
    "json": (
        "The request is not valid JSON with a list of events; see the page for what can be changed.",
        "La requête n’est pas du JSON valide avec une liste d’événements ; la page dit ce qui peut changer.",
    ),
    "none": (
        "Nothing is changed; choose at least one change.",
        "Rien n’est changé ; choisissez au moins un changement.",
    ),
    "many": (
        "These are too many changes; choose at most {most}.",
        "Il y a trop de changements ; choisissez-en au plus {most}.",
    ),
    "kind": (
        "Event {event} has a kind that cannot be simulated here; choose one of {choices}.",
        "L’événement {event} est d’un genre qui ne se simule pas ici ; choisissez parmi {choices}.",
    ),
    "keys": (
        "Event {event} has an unknown or missing value; it needs {choices}.",
        "L’événement {event} a une valeur inconnue ou manquante ; il faut {choices}.",
    ),
    "species": (
        "Event {event} names a species that cannot be chosen for it; choose one of the page.",
        "L’événement {event} nomme une espèce qui ne peut pas être choisie ; prenez-en une de la page.",
    ),
    "patches": (
        "Event {event} names no areas of the page, or all where some are needed; choose by their letters.",
        "L’événement {event} ne nomme pas de zones de la page, ou les nomme toutes ; choisissez par lettre.",
    ),
    "number": (
        "Event {event}: {key} must be a whole number from {least} to {most}.",
        "Événement {event} : {key} doit être un nombre entier de {least} à {most}.",
    ),
    "period": (
        "Event {event} ends before it begins; exchange its years.",
        "L’événement {event} finit avant de commencer ; échangez ses années.",
    ),
    "contradiction": (
        "Two changes contradict each other in time; move or remove one of them.",
        "Deux changements se contredisent dans le temps ; déplacez ou retirez l’un d’eux.",
    ),
    "busy": (
        "Too many visitors are waiting; try again in a few seconds.",
        "Trop de visiteurs attendent ; réessayez dans quelques secondes.",
    ),
    "visitor": (
        "From here, {most} simulations are running already; wait for one of them.",
        "D’ici, {most} simulations sont déjà en cours ; attendez que l’une d’elles finisse.",
    ),
    "long": (
        "The simulation took more than {seconds} seconds and was ended; change less, or try again.",
        "La simulation a pris plus de {seconds} secondes et a été arrêtée ; changez moins, ou réessayez.",
    ),
    "hard": (
        "This change is too violent to be simulated; choose a gentler one.",
        "Ce changement est trop violent pour être simulé ; choisissez-en un plus doux.",
    ),
    "animals": (
        "No large animals are left at the end, so there is no scene of them.",
        "Il ne reste pas de grands animaux à la fin, donc pas de scène.",
    ),
    "elsewhere": (
        "Only the server’s own page may ask for simulations; open it and try again.",
        "Seule la page du serveur peut demander des simulations ; ouvrez-la et réessayez.",
    ),
    "type": (
        "A simulation is asked for in JSON; send Content-Type: application/json.",
        "Une simulation se demande en JSON ; envoyez Content-Type: application/json.",
    ),
    "slow": (
        "The request came too slowly; send it at once.",
        "La requête est arrivée trop lentement ; envoyez-la d’un coup.",
    ),
    "broken": (
        "Something went wrong on the server; its log says what.",
        "Le serveur a rencontré un problème ; son journal dit lequel.",
    ),
}
_STATUS = {"busy": 503, "visitor": 429, "elsewhere": 403, "type": 415, "slow": 408, "broken": 500}


class Refusal(Exception):
    """A request that is not simulated. reason: a key of the sentences, whose values follow."""

    def __init__(self, reason: str, **values: object) -> None:
        english, french = (text.format(**values) for text in _SENTENCES[reason])
        super().__init__(english)
        self.reason, self.english, self.french = reason, english, french

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUS.get(self.reason, 400)

    def as_json(self) -> dict[str, str]:
        """The sentence in both languages."""
        return {"error": self.english, "fr": self.french}
