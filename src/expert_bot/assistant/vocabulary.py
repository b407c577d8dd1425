"""The words the grammar of `understand` knows: lower case, without accents."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MONTH_NAMES: Final = (
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
)
MONTHS: Final = {name: number for number, name in enumerate(MONTH_NAMES, start=1)} | {"setiembre": 9}

CONSUMPTION: Final = _words(
    "consumo consumos consumi consumimos consumido consumida consumidos kwh gaste gastamos gastado gastada gastados"
)
"""Words that ask for consumption by themselves."""

CONSUMPTION_OF_ENERGY: Final = _words("gasto cuanta cantidad use usamos usado usada utilice utilizado")
"""Words that ask for consumption when they come with a word for energy ("gasto" alone may mean money)."""

ENERGY: Final = _words("luz electricidad energia corriente electrico electrica")

CONNECTIVES: Final = _words("el en de del mes y pues")
"""Words that may surround a month that stands alone ("¿y en marzo?"): the answer to the question which month."""

_POLITE: Final = _words("hola buenas oye pues porfa porfavor gracias")
_ASKING: Final = _words("""dime decir decirme dices diga digame quiero quisiera queria saber ver conocer consultar necesito puede puedes podrias
    podria indica indicar indicarme muestra muestrame mostrarme ensename me""")
_GLUE: Final = _words("""cuanto cuanta cuantos cuantas cual que es fue era ha he hemos sido tuve tenido tuvimos hubo hice llevo llevamos
    yo mi mis nuestro el la los las lo de del en y mes todo entero completo total totales casa hogar vivienda kw
    kilovatios kilowatios reparto repartido desglose desglosado entre""")
KNOWN: Final = CONSUMPTION | CONSUMPTION_OF_ENERGY | ENERGY | CONNECTIVES | _POLITE | _ASKING | _GLUE
"""Every word a question may have, months and phrases apart, and still be understood."""

PHRASES: Final = (
    "por favor",
    "por (?:periodos|tramos|franjas)",
    "muchas gracias",
    "buenos dias",
    "buenas (?:tardes|noches)",
    "lo que (?:va|llevo|llevamos) de(?= +)",
)
"""Word sequences (patterns) that change nothing although their words alone are not known."""

MONEY: Final = _words("""€ $ £ euro euros centimos dinero pasta factura facturas recibo recibos pagar pago paga pague pagado pagare
    pagamos precio precios coste costes costo costado cuesta cuestan costar costara importe importes cobrar cobrado
    cobran caro cara barato barata tarifa tarifas salir sale saldra presupuesto""")
COMPARISON: Final = _words("""compara comparar comparame comparado comparacion comparativa diferencia respecto frente contra vs versus
    evolucion tendencia""")
OTHER_PERIODS: Final = _words("""ayer anteayer antes hoy manana semana semanas ano anos anual trimestre trimestral semestre cuatrimestre dia
    dias diario diarios diaria quincena fin finde lunes martes miercoles jueves viernes sabado domingo desde hasta
    al ultimo ultimos ultima ultimas primavera verano otono invierno noche noches madrugada tarde navidad navidades
    hora horas meses mensual proximo proxima viene pasado pasada anterior""")
"""Words that mark a period other than one calendar month."""
