// Texts of the review in the languages of the pages. {name} is filled in by bioclipReviewTexts(lang).fill.
"use strict";
const bioclipReviewTexts = (() => {
  const TEXTS = {
    en: {
      start: "Review the predictions", title: "Review", close: "Back to the list", photo: "Photo {n} of {total}",
      progress: "{done} of {total} reviewed", order: "Order", lowest: "lowest confidence first",
      highest: "highest confidence first", given: "as given", random: "at random", skip: "skip reviewed photos",
      candidates: "Predictions", reject: "None of these", type: "Another name", suggestions: "Suggested names",
      undo: "Undo", previous: "Previous", next: "Next", keys: "Keys", download: "Download corrections",
      load: "Load corrections", confirmed: "Confirmed: {name}", corrected: "Corrected: {name}",
      rejected: "None of these", open: "not reviewed", undone: "Undone.", nothing: "There is nothing to undo.",
      next_is: "Next: {name}, {value}", all: "All {total} photos are reviewed. Download the corrections to use them.",
      large: "Review {name}",
      kept: "Corrections are kept in this browser only, and sent nowhere: download them when you are done.",
      lost: "This browser does not keep the corrections: download them before you close the page.",
      loaded: "Loaded: {added} new, {replaced} newer, {kept} already here, {unknown} of photos that this page lacks.",
      refused: "{name} is not a table of corrections; choose a CSV that this page has written.",
      no_picture: "This page has no picture of this photo.", key_confirm: "confirm the first prediction",
      key_choose: "choose a prediction by its number", key_type: "type another name", key_reject: "none of these",
      key_undo: "undo the last decision", key_next: "next photo", key_previous: "previous photo",
      key_help: "show these keys", key_close: "close",
    },
    fr: {
      start: "Vérifier les identifications", title: "Vérification", close: "Retour à la liste",
      photo: "Photo {n} sur {total}", progress: "Vérifiées\u00a0: {done} sur {total}", order: "Ordre",
      lowest: "confiance croissante", highest: "confiance décroissante", given: "ordre d’origine",
      random: "ordre aléatoire", skip: "passer les photos déjà vérifiées", candidates: "Identifications proposées",
      reject: "Aucun de ces noms", type: "Autre nom", suggestions: "Noms suggérés", undo: "Annuler",
      previous: "Précédente", next: "Suivante", keys: "Raccourcis", download: "Télécharger les corrections",
      load: "Charger des corrections", confirmed: "Confirmé\u00a0: {name}", corrected: "Corrigé\u00a0: {name}",
      rejected: "Aucun de ces noms", open: "à vérifier", undone: "Décision annulée.",
      nothing: "Il n’y a rien à annuler.", next_is: "Photo suivante\u00a0: {name}, {value}",
      all: "Les {total} photos sont vérifiées. Téléchargez les corrections pour vous en servir.",
      large: "Vérifier {name}",
      kept: "Les corrections restent dans ce navigateur et ne sont envoyées nulle part\u00a0: téléchargez-les.",
      lost: "Ce navigateur ne conserve pas les corrections\u00a0: téléchargez-les avant de fermer la page.",
      loaded:
        "Corrections chargées\u00a0: {added} nouvelles, {replaced} plus récentes, {kept} déjà là, {unknown} sans photo ici.",
      refused: "{name} n’est pas un tableau de corrections\u00a0; choisissez un CSV téléchargé depuis cette page.",
      no_picture: "Cette page ne contient pas d’image de cette photo.",
      key_confirm: "confirmer la première identification", key_choose: "choisir une identification par son numéro",
      key_type: "saisir un autre nom", key_reject: "aucun de ces noms", key_undo: "annuler la dernière décision",
      key_next: "photo suivante", key_previous: "photo précédente", key_help: "afficher ces raccourcis",
      key_close: "fermer",
    },
    de: {
      start: "Bestimmungen prüfen", title: "Prüfung", close: "Zurück zur Liste", photo: "Foto {n} von {total}",
      progress: "{done} von {total} geprüft", order: "Reihenfolge", lowest: "niedrigste Konfidenz zuerst",
      highest: "höchste Konfidenz zuerst", given: "wie vorgegeben", random: "zufällig",
      skip: "geprüfte Fotos überspringen", candidates: "Vorschläge", reject: "Nichts davon", type: "Anderer Name",
      suggestions: "Namensvorschläge", undo: "Rückgängig", previous: "Zurück", next: "Weiter", keys: "Tastenkürzel",
      download: "Korrekturen herunterladen", load: "Korrekturen laden", confirmed: "Bestätigt: {name}",
      corrected: "Korrigiert: {name}", rejected: "Nichts davon", open: "nicht geprüft", undone: "Rückgängig gemacht.",
      nothing: "Es gibt nichts rückgängig zu machen.", next_is: "Nächstes Foto: {name}, {value}",
      all: "Alle {total} Fotos sind geprüft. Laden Sie die Korrekturen herunter, um sie zu verwenden.",
      large: "{name} prüfen",
      kept:
        "Die Korrekturen bleiben in diesem Browser und werden nirgendwohin gesendet: Laden Sie sie am Ende herunter.",
      lost: "Dieser Browser speichert die Korrekturen nicht: Laden Sie sie herunter, bevor Sie die Seite schließen.",
      loaded: "Geladen: {added} neue, {replaced} neuere, {kept} schon vorhandene, {unknown} zu Fotos, die hier fehlen.",
      refused: "{name} ist keine Korrekturtabelle; wählen Sie eine CSV-Datei, die von dieser Seite stammt.",
      no_picture: "Diese Seite enthält kein Bild dieses Fotos.", key_confirm: "den ersten Vorschlag bestätigen",
      key_choose: "einen Vorschlag nach Nummer wählen", key_type: "einen anderen Namen eingeben",
      key_reject: "nichts davon", key_undo: "letzte Entscheidung rückgängig machen", key_next: "nächstes Foto",
      key_previous: "voriges Foto", key_help: "diese Tastenkürzel anzeigen", key_close: "schließen",
    },
    es: {
      start: "Revisar las identificaciones", title: "Revisión", close: "Volver a la lista",
      photo: "Foto {n} de {total}", progress: "Revisadas: {done} de {total}", order: "Orden",
      lowest: "de menor a mayor confianza", highest: "de mayor a menor confianza", given: "orden original",
      random: "al azar", skip: "omitir las fotos ya revisadas", candidates: "Identificaciones propuestas",
      reject: "Ninguna de estas", type: "Otro nombre", suggestions: "Nombres sugeridos", undo: "Deshacer",
      previous: "Anterior", next: "Siguiente", keys: "Atajos", download: "Descargar las correcciones",
      load: "Cargar correcciones", confirmed: "Confirmada: {name}", corrected: "Corregida: {name}",
      rejected: "Ninguna de estas", open: "sin revisar", undone: "Decisión deshecha.",
      nothing: "No hay nada que deshacer.", next_is: "Siguiente foto: {name}, {value}",
      all: "Las {total} fotos están revisadas. Descargue las correcciones para usarlas.", large: "Revisar {name}",
      kept: "Las correcciones se guardan solo en este navegador y no se envían: descárguelas al terminar.",
      lost: "Este navegador no guarda las correcciones: descárguelas antes de cerrar la página.",
      loaded:
        "Correcciones cargadas: {added} nuevas, {replaced} más recientes, {kept} ya presentes, {unknown} sin foto aquí.",
      refused: "{name} no es una tabla de correcciones; elija un CSV descargado de esta página.",
      no_picture: "Esta página no contiene ninguna imagen de esta foto.",
      key_confirm: "confirmar la primera identificación", key_choose: "elegir una identificación por su número",
      key_type: "escribir otro nombre", key_reject: "ninguna de estas", key_undo: "deshacer la última decisión",
      key_next: "foto siguiente", key_previous: "foto anterior", key_help: "mostrar estos atajos", key_close: "cerrar",
    },
  };

  // The texts of a language ("fr", "fr-CA"), English for others; fill(name, values) formats numbers in it.
  return (lang) => {
    const language = Object.hasOwn(TEXTS, lang.slice(0, 2)) ? lang.slice(0, 2) : "en";
    const texts = TEXTS[language];
    const shown = (value) => typeof value === "number" ? value.toLocaleString(language) : value;
    const fill = (name, values = {}) => texts[name].replace(/\{(\w+)\}/g, (_, key) => shown(values[key]));
    return { ...texts, language, fill };
  };
})();
